package checkpoint

import (
	"fmt"
	"os"
	"path"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
)

// Dump saves a container. Unless LeaveRunning or PreDump says otherwise its processes
// are gone afterwards. A failure leaves them as they were.
func Dump(s *Subject, o *Options) error {
	if err := o.directories(true); err != nil {
		return err
	}
	if err := o.checkStatusFD(); err != nil {
		return err
	}
	if err := o.check(); err != nil {
		return fmt.Errorf("checkpoint container %s: %w", s.ID, err)
	}
	if err := o.checkFeatures(); err != nil {
		return fmt.Errorf("checkpoint container %s: %w", s.ID, err)
	}
	r := o.request(s, dumpLog)
	r.root, r.pid, r.freezer = s.Root, s.Pid, s.freezer()
	r.leaveRunning = o.LeaveRunning
	r.parent, r.trackMem = o.Parent, o.Parent != ""
	r.pageAddress, r.pagePort = o.pageServer.address, o.pageServer.port
	if err := s.dumpNamespaces(r); err != nil {
		return err
	}
	typ := uint64(typePreDump)
	if !o.PreDump {
		typ = typeDump
		if err := s.dumpMounts(r); err != nil {
			return err
		}
		if err := o.saveStreams(s.Pid, r); err != nil {
			return err
		}
	}
	dirs, err := o.open(r)
	if err != nil {
		return err
	}
	defer closeAll(dirs)
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	w, err := start(o.Program, [3]*os.File{null, null, null})
	if err != nil {
		return fmt.Errorf("checkpoint container %s: %w", s.ID, err)
	}
	answer, err := w.ask(&request{typ: typ, opts: r}, o.dumpNotice)
	if ended := w.end(); err == nil && answer.success && typ == typeDump {
		err = ended // after a pre-dump criu would wait for the next, and is never content
	}
	if err != nil || !answer.success {
		return o.failure(s, typ, dumpLog, answer, err)
	}
	return nil
}

// dumpNotice answers a notification. At network-lock and network-unlock there is nothing
// to do: packets are held by criu's rules in the container's network namespace.
func (o *Options) dumpNotice(n *response, _ *os.File) error {
	if n.script != "status-ready" || o.StatusFD < 0 {
		return nil
	}
	_, err := unix.Write(o.StatusFD, []byte{0})
	if err != nil {
		return fmt.Errorf("tell --status-fd %d that pages can be asked for: %w", o.StatusFD, err)
	}
	unix.Close(o.StatusFD)
	o.StatusFD = -1
	return nil
}

// open opens the directories. Criu takes them from us, by our numbers, when it gets the
// request; those of what it inherits are its own.
func (o *Options) open(r *options) (dirs []*os.File, retErr error) {
	defer func() {
		if retErr != nil {
			closeAll(dirs)
		}
	}()
	images, err := os.OpenFile(o.Images, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, fmt.Errorf("open the directory of the images: %w", err)
	}
	dirs = append(dirs, images)
	r.imagesFD = int(images.Fd())
	logs := images
	if o.Work != "" {
		if logs, err = os.OpenFile(o.Work, os.O_RDONLY|unix.O_DIRECTORY, 0); err != nil {
			return dirs, fmt.Errorf("open the working directory of criu: %w", err)
		}
		dirs = append(dirs, logs)
		r.workFD = int(logs.Fd())
	}
	return dirs, clearLogs(logs)
}

// firstFile is the number of the first file of a worker.
const firstFile = 4

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// dumpNamespaces names the network and the PID namespace as not to be saved where they
// belong to somebody else.
func (s *Subject) dumpNamespaces(r *options) error {
	for _, kind := range []specs.LinuxNamespaceType{specs.NetworkNamespace, specs.PIDNamespace} {
		ns := namespaceOf(s.Spec, kind)
		if ns == nil || ns.Path == "" {
			continue
		}
		// What it has joined, whatever the path names now.
		var st unix.Stat_t
		name := fmt.Sprintf("/proc/%d/ns/%s", s.Pid, criuName(kind))
		if err := unix.Stat(name, &st); err != nil {
			return fmt.Errorf("checkpoint container %s: find its %s namespace: %w", s.ID, kind, err)
		}
		r.external = append(r.external, fmt.Sprintf("%s[%d]:%s", criuName(kind), st.Ino, externalKey(kind)))
	}
	return nil
}

// dumpMounts names the mounts that come from outside.
func (s *Subject) dumpMounts(r *options) error {
	root, err := os.OpenFile(fmt.Sprintf("/proc/%d/root", s.Pid), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return fault.New(fault.Conflict, "checkpoint container %s: its first process has ended", s.ID)
	}
	defer root.Close()
	for i := range s.Spec.Mounts {
		if m := &s.Spec.Mounts[i]; isBind(m) {
			place := placeInside(root, m.Destination)
			r.mounts = append(r.mounts, mountMap{place, path.Clean("/" + m.Destination)})
		}
	}
	if s.Spec.Linux == nil {
		return nil
	}
	for _, name := range s.Spec.Linux.MaskedPaths {
		switch kindInside(root, name) {
		case unix.S_IFDIR:
			r.mounts = append(r.mounts, mountMap{placeInside(root, name), keyEmpty})
		case unix.S_IFCHR:
			r.mounts = append(r.mounts, mountMap{placeInside(root, name), keyNull})
		}
	}
	for _, d := range s.Spec.Linux.Devices {
		r.mounts = append(r.mounts, mountMap{placeInside(root, d.Path), path.Clean("/" + d.Path)})
	}
	return nil
}
