// Package external launches containers with the program of another OCI runtime (runc,
// crun, youki, …), as package launcher's other implementation.
//
// Everything goes through the program's command line: create, start, exec, kill,
// pause, resume, update, delete. Between the calls the program does not run. The
// container's processes become children of the shim, which is a subreaper, so that
// exit codes need no help from the runtime.
//
// Such a runtime wants a root directory that is mounted. It is mounted in a mount
// namespace of the shim's own, in which every call of the program runs: on the host
// nothing is mounted here either. The same namespace has the namespaces that the
// container joins as files, because a configuration names them by path.
//
// Limits: a runtime whose processes are not children of its caller (virtual machines)
// works as far as its pid file names a process that ends with the container.
package external

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strconv"
	"strings"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/kernel/mountapi"
	"github.com/sampan-containers/sampan/kernel/pidfd"
	"github.com/sampan-containers/sampan/runtime"
	"github.com/sampan-containers/sampan/runtime/cgroup"
	"github.com/sampan-containers/sampan/runtime/rootfs"
	"github.com/sampan-containers/sampan/runtime/systemd"
	"github.com/sampan-containers/sampan/shim/launcher"
)

// Launcher starts containers with the program at Path.
type Launcher struct {
	Path string
	Args []string // before the command, as in runtimeArgs of daemon.json
	Dir  string   // the run directory: private, on a tmpfs, removed by the daemon
	// Checkpoint is the directory of images to restore from. The container belongs to this
	// process afterwards, as one of package runtime.
	Checkpoint string
}

// Launch creates and starts a container.
func (l Launcher) Launch(s *runtime.LaunchSpec) (_ *launcher.Launched, retErr error) {
	c := &container{program: program{path: l.Path, args: l.Args, dir: filepath.Join(l.Dir, "oci"), id: s.ID}}
	if err := os.Mkdir(c.dir, 0o700); err != nil {
		return nil, fmt.Errorf("directory for the runtime %s: %w", l.Path, err)
	}
	defer func() {
		if retErr != nil {
			c.close()
		}
	}()
	spec := *s.Spec
	// Runtimes refuse versions that they do not know. What is written is understood by
	// the first, and what is newer in it is passed over.
	spec.Version = "1.0.2"
	if err := c.prepare(s, &spec); err != nil {
		return nil, err
	}
	if err := c.writeJSON("config.json", &spec); err != nil {
		return nil, err
	}
	if l.Checkpoint != "" {
		if err := c.restore(s, &spec, l.Checkpoint); err != nil {
			c.discard(&spec)
			return nil, err
		}
		c.close()
		return &launcher.Launched{Pid: c.own.Pid, PidFD: c.own.PidFD, Console: c.own.Console, Container: launcher.Own{Container: c.own}}, nil
	}
	if err := c.create(s, &spec); err != nil {
		c.discard(&spec)
		return nil, err
	}
	return &launcher.Launched{Pid: c.own.Pid, PidFD: c.own.PidFD, Console: c.own.Console, Container: c}, nil
}

// container is one that an external runtime has made.
type container struct {
	program
	own *runtime.Container // for what the kernel says without the runtime's help
}

// prepare makes the mount namespace, with root and namespaces in it, and changes spec
// to name them.
func (c *container) prepare(s *runtime.LaunchSpec, spec *specs.Spec) error {
	linux := *spec.Linux
	spec.Linux = &linux
	linux.Namespaces = append([]specs.LinuxNamespace(nil), linux.Namespaces...)
	if s.Overlay != nil {
		spec.Root = &specs.Root{Path: filepath.Join(c.dir, "rootfs"), Readonly: spec.Root != nil && spec.Root.Readonly || s.Overlay.ReadOnly}
		if err := os.Mkdir(spec.Root.Path, 0o700); err != nil {
			return err
		}
	}
	return onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
			return fmt.Errorf("make a mount namespace: %w", err)
		}
		// What the host mounts later is seen here, what is mounted here nowhere else.
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
			return fmt.Errorf("separate a mount namespace: %w", err)
		}
		if o := s.Overlay; o != nil {
			root, err := rootfs.OpenOverlay(mountapi.Overlay{Lower: o.Lower, Upper: o.Upper, Work: o.Work})
			if err != nil {
				return err
			}
			defer root.Close()
			if err := unix.MoveMount(int(root.Fd()), "", unix.AT_FDCWD, spec.Root.Path, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
				return fmt.Errorf("mount the root at %s: %w", spec.Root.Path, err)
			}
		}
		for kind, f := range s.Namespaces {
			path := filepath.Join(c.dir, "ns-"+string(kind))
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				return err
			}
			if err := unix.Mount("/proc/self/fd/"+strconv.Itoa(int(f.Fd())), path, "", unix.MS_BIND, ""); err != nil {
				return fmt.Errorf("name the %s namespace: %w", kind, err)
			}
			name(&linux, kind, path)
		}
		f, err := os.Open("/proc/thread-self/ns/mnt")
		c.mounts = f
		return err
	})
}

// name gives a namespace of the specification a path.
func name(linux *specs.Linux, kind specs.LinuxNamespaceType, path string) {
	for i := range linux.Namespaces {
		if linux.Namespaces[i].Type == kind {
			linux.Namespaces[i].Path = path
			return
		}
	}
	linux.Namespaces = append(linux.Namespaces, specs.LinuxNamespace{Type: kind, Path: path})
}

// create lets the runtime create and start the container.
func (c *container) create(s *runtime.LaunchSpec, spec *specs.Spec) error {
	args := []string{"create", "--bundle", c.dir, "--pid-file", filepath.Join(c.dir, "pid")}
	var tty *console
	if spec.Process.Terminal {
		var err error
		if tty, err = listenConsole(c.dir, "tty"); err != nil {
			return err
		}
		defer tty.close()
		args = append(args, "--console-socket", tty.path)
	}
	if err := c.run(s.Stdio, append(args, c.id)...); err != nil {
		return classify(err, spec.Process.Args)
	}
	pid, err := readPid(filepath.Join(c.dir, "pid"))
	if err != nil {
		return err
	}
	// A runtime that keeps its groups elsewhere leaves those calls without an answer.
	group, _ := cgroup.Load(systemd.GroupPath(spec.Linux.CgroupsPath))
	known := *spec
	known.Hooks = nil // the runtime's to run
	if c.own, err = runtime.Load(c.id, pid, &known, group); err != nil {
		return err
	}
	if tty != nil {
		if c.own.Console, err = tty.receive(spec.Process.ConsoleSize); err != nil {
			return err
		}
	}
	if err := c.run([3]*os.File{}, "start", c.id); err != nil {
		return classify(err, spec.Process.Args)
	}
	return nil
}

// discard takes away what a failed create has left.
func (c *container) discard(spec *specs.Spec) {
	_ = c.run([3]*os.File{}, "delete", "--force", c.id) // it may know nothing of the container
	if c.own != nil {
		if c.own.Console != nil {
			c.own.Console.Close()
		}
		_ = c.own.Destroy()
		unix.Wait4(c.own.Pid, nil, unix.WALL, nil)
		return
	}
	if g, err := cgroup.Load(systemd.GroupPath(spec.Linux.CgroupsPath)); err == nil {
		_ = runtime.RemoveGroup(g)
	}
}

// Exec starts a further process through the runtime.
func (c *container) Exec(e *runtime.ExecSpec) (*runtime.Process, error) {
	prefix := c.next("exec")
	file, pidFile := filepath.Join(c.dir, prefix+".json"), filepath.Join(c.dir, prefix+".pid")
	defer os.Remove(file)
	defer os.Remove(pidFile)
	if err := c.writeJSON(prefix+".json", e.Process); err != nil {
		return nil, err
	}
	args := []string{"exec", "--detach", "--process", file, "--pid-file", pidFile}
	var tty *console
	if e.Process.Terminal {
		var err error
		if tty, err = listenConsole(c.dir, prefix); err != nil {
			return nil, err
		}
		defer tty.close()
		args = append(args, "--console-socket", tty.path)
	}
	if err := c.run(e.Stdio, append(args, c.id)...); err != nil {
		return nil, classify(err, e.Process.Args)
	}
	p := &runtime.Process{}
	var err error
	if p.Pid, err = readPid(pidFile); err != nil {
		return nil, err
	}
	// Our child and not reaped: the number cannot mean another process.
	if p.PidFD, err = pidfd.Open(p.Pid); err != nil {
		return nil, fmt.Errorf("exec in container %s: %w", c.id, err)
	}
	if tty != nil {
		if p.Console, err = tty.receive(e.Process.ConsoleSize); err != nil {
			_ = pidfd.Signal(p.PidFD, unix.SIGKILL)
			p.PidFD.Close()
			return nil, err
		}
	}
	return p, nil
}

// Namespace opens one of the container's namespaces.
func (c *container) Namespace(kind specs.LinuxNamespaceType) (*os.File, error) {
	return c.own.Namespace(kind)
}

// RootDir is the container's root directory.
func (c *container) RootDir() *os.File { return c.own.Root }

// OOMKilled asks the container's group.
func (c *container) OOMKilled() (bool, error) { return launcher.Own{Container: c.own}.OOMKilled() }

// Signal sends a signal to the first process by the runtime.
func (c *container) Signal(sig syscall.Signal) error {
	err := c.run([3]*os.File{}, "kill", c.id, strconv.Itoa(int(sig)))
	if err != nil && sig == unix.SIGKILL {
		// Whatever is wrong with the runtime, a container can be ended.
		return pidfd.Signal(c.own.PidFD, unix.SIGKILL)
	}
	return err
}

// Control pauses, resumes or updates the container by the runtime.
func (c *container) Control(verb string, data []byte) error {
	switch verb {
	case "pause", "resume":
		return c.run([3]*os.File{}, verb, c.id)
	case "update":
		file := filepath.Join(c.dir, c.next("resources")+".json")
		defer os.Remove(file)
		if err := os.WriteFile(file, data, 0o600); err != nil {
			return err
		}
		return c.run([3]*os.File{}, "update", "--resources", file, c.id)
	}
	return fmt.Errorf("a container of the runtime %s has no %q", c.path, verb)
}

// Destroy lets the runtime delete the container and takes away what it leaves.
func (c *container) Destroy() error {
	c.mu.Lock()
	gone := c.gone
	c.gone = true
	c.mu.Unlock()
	if gone {
		return nil
	}
	err := c.run([3]*os.File{}, "delete", "--force", c.id)
	if destroyErr := c.own.Destroy(); destroyErr != nil {
		return errors.Join(err, destroyErr)
	}
	c.close()
	return err
}

func (c *container) close() {
	if c.mounts != nil {
		c.mounts.Close()
	}
}

// writeJSON writes one of the runtime's input files.
func (c *container) writeJSON(file string, v any) error {
	raw, err := json.Marshal(v)
	if err == nil {
		err = os.WriteFile(filepath.Join(c.dir, file), raw, 0o600)
	}
	if err != nil {
		return fmt.Errorf("write %s for the runtime %s: %w", file, c.path, err)
	}
	return nil
}

func readPid(file string) (int, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return 0, fmt.Errorf("the runtime wrote no pid file: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil || pid <= 1 {
		return 0, fmt.Errorf("the runtime's pid file %s has %.40q instead of a number", file, raw)
	}
	return pid, nil
}

// onThread runs f on a thread that ends with it: what f does to the thread's
// namespaces reaches nobody else.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		goruntime.LockOSThread() // never unlocked: the thread ends with the goroutine
		done <- f()
	}()
	return <-done
}

// restore lets our own runtime make the container from a checkpoint.
func (c *container) restore(s *runtime.LaunchSpec, spec *specs.Spec, images string) error {
	pidFile := filepath.Join(c.dir, "pid")
	args := []string{"restore", "--detach", "--bundle", c.dir, "--pid-file", pidFile, "--image-path", images, "--work-path", filepath.Join(c.dir, "criu"), "--tcp-established", "--file-locks", "--ext-unix-sk"}
	var tty *console
	if spec.Process.Terminal {
		var err error
		if tty, err = listenConsole(c.dir, "tty"); err != nil {
			return err
		}
		defer tty.close()
		args = append(args, "--console-socket", tty.path)
	}
	if err := c.run(s.Stdio, append(args, c.id)...); err != nil {
		return err
	}
	pid, err := readPid(pidFile)
	if err != nil {
		return err
	}
	group, err := cgroup.Load(spec.Linux.CgroupsPath)
	if err != nil {
		return err
	}
	if c.own, err = runtime.Load(c.id, pid, s.Spec, group); err != nil {
		return err
	}
	if tty != nil {
		c.own.Console, err = tty.receive(spec.Process.ConsoleSize)
	}
	return err
}
