package runtime

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
)

// source makes a directory with a file on the host.
func (l *lab) source(name string) string {
	dir := filepath.Join(l.dir, name)
	l.must(os.MkdirAll(dir, 0o755))
	l.must(os.WriteFile(filepath.Join(dir, "file"), []byte("from the host\n"), 0o644))
	return dir
}

func TestBindMounts(t *testing.T) {
	l := newLab(t)
	src := l.source("src")
	sub := filepath.Join(src, "sub")
	l.must(os.Mkdir(sub, 0o755))
	l.must(unix.Mount("sub", sub, "tmpfs", 0, ""))
	t.Cleanup(func() { _ = unix.Unmount(sub, unix.MNT_DETACH) })
	l.must(os.WriteFile(filepath.Join(sub, "deep"), []byte("deep\n"), 0o644))

	for _, c := range []struct {
		name, target, command, want string
		file                        bool
		options                     []string
	}{
		{name: "directory", options: []string{"rbind"}, command: "cat /data/file /data/sub/deep; touch /data/new && echo ok", want: "from the host\ndeep\nok"},
		{name: "not recursive", options: []string{"bind"}, command: "ls /data/sub | wc -l", want: "0"},
		{name: "read-only", options: []string{"rbind", "ro"}, command: "touch /data/x 2>&1; touch /data/sub/x && echo below", want: "touch: /data/x: Read-only file system\nbelow"},
		{name: "recursively read-only", options: []string{"rbind", "rro"}, command: "touch /data/x 2>&1; touch /data/sub/x 2>&1", want: "touch: /data/x: Read-only file system\ntouch: /data/sub/x: Read-only file system"},
		{name: "noexec", options: []string{"bind", "noexec"}, command: "cp /bin/busybox /data/b; /data/b true 2>&1", want: "/bin/sh: /data/b: Permission denied"},
		{name: "file", file: true, target: "/etc/deep/er/file", options: []string{"bind", "ro"}, command: "cat /etc/deep/er/file", want: "from the host"},
		{name: "file over file", file: true, target: "/etc/passwd", options: []string{"bind"}, command: "cat /etc/passwd", want: "from the host"},
		{name: "new target", target: "/a/b/c/d", options: []string{"bind"}, command: "cat /a/b/c/d/file", want: "from the host"},
		{name: "inside a tmpfs", target: "/dev/shm/x/y", options: []string{"bind"}, command: "cat /dev/shm/x/y/file", want: "from the host"},
		{name: "file inside a tmpfs", file: true, target: "/dev/shm/f/g", options: []string{"bind"}, command: "cat /dev/shm/f/g", want: "from the host"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := l.in(t)
			_ = os.Symlink("busybox", filepath.Join(l.root, "bin/cp"))
			spec := l.spec(c.command + "; true")
			source, target := src, c.target
			if c.file {
				source = filepath.Join(src, "file")
			}
			if target == "" {
				target = "/data"
			}
			spec.Mounts = append(spec.Mounts, specs.Mount{Destination: target, Source: source, Options: c.options})
			l.equal("output", l.run(spec), c.want)
		})
	}
}

func TestPropagation(t *testing.T) {
	l := newLab(t)
	src := l.source("shared")
	l.must(unix.Mount(src, src, "", unix.MS_BIND, ""))
	t.Cleanup(func() { _ = unix.Unmount(src, unix.MNT_DETACH) })
	l.must(unix.Mount("", src, "", unix.MS_SHARED, ""))
	inner := filepath.Join(src, "inner")
	l.must(os.Mkdir(inner, 0o755))

	for option, want := range map[string]struct{ in, out bool }{
		"": {true, false}, "rslave": {true, false}, "rprivate": {false, false}, "rshared": {true, true},
	} {
		t.Run("option "+option, func(t *testing.T) {
			l := l.in(t)
			spec := l.spec("echo ready; while ! test -e /tmp/go; do sleep 0.01; done; test -e /data/inner/mark && echo received; mount -t tmpfs x /data/inner; touch /data/inner/back; echo done; sleep 100")
			all := allCaps()
			spec.Process.Capabilities = &specs.LinuxCapabilities{Bounding: all, Effective: all, Permitted: all}
			options := []string{"rbind"}
			if option != "" {
				options = append(options, option)
			}
			go2 := filepath.Join(l.root, "tmp/go")
			_ = os.Remove(go2)
			spec.Mounts = append(spec.Mounts, specs.Mount{Destination: "/data", Source: src, Options: options})
			b, err := l.launch(spec, func(s *LaunchSpec) { s.Warn = nil })
			l.must(err)
			b.await("ready")
			l.must(unix.Mount("x", inner, "tmpfs", 0, ""))
			t.Cleanup(func() {
				for unix.Unmount(inner, unix.MNT_DETACH) == nil {
				}
			})
			l.must(os.WriteFile(filepath.Join(inner, "mark"), nil, 0o644))
			l.must(os.WriteFile(go2, nil, 0o644))
			got := strings.Contains(b.await("done"), "received")
			if got != want.in {
				t.Errorf("the container sees the host's mount: %v, want %v", got, want.in)
			}
			_, err = os.Stat(filepath.Join(inner, "back"))
			if (err == nil) != want.out {
				t.Errorf("the host sees the container's mount: %v, want %v", err == nil, want.out)
			}
		})
	}
}

func TestFileSystems(t *testing.T) {
	l := newLab(t)
	for _, c := range []struct {
		name    string
		mount   specs.Mount
		command string
		want    string
	}{
		{"tmpfs with size and mode", specs.Mount{Destination: "/t", Type: "tmpfs", Source: "tmpfs", Options: []string{"size=1m", "mode=0750", "noexec"}},
			"stat -c %a /t; dd if=/dev/zero of=/t/x bs=1M count=2 2>&1 | head -1", "750\ndd: error writing '/t/x': No space left on device"},
		{"tmpfs takes the directory's mode", specs.Mount{Destination: "/tmp", Type: "tmpfs", Source: "tmpfs"}, "stat -c %a /tmp", "1777"},
		{"read-only tmpfs", specs.Mount{Destination: "/t", Type: "tmpfs", Source: "tmpfs", Options: []string{"ro"}}, "touch /t/x 2>&1", "touch: /t/x: Read-only file system"},
		{"mqueue", specs.Mount{Destination: "/q", Type: "mqueue", Source: "mqueue"}, "test -d /q && mount | grep -c ' /q type mqueue'", "1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := l.in(t)
			_ = os.Symlink("busybox", filepath.Join(l.root, "bin/grep"))
			spec := l.spec(c.command + "; true")
			spec.Mounts = append(spec.Mounts, c.mount)
			l.equal("output", l.run(spec), c.want)
		})
	}
}

func TestMountErrors(t *testing.T) {
	l := newLab(t)
	src := l.source("src")
	l.must(os.Symlink("/etc/passwd", filepath.Join(l.root, "etc/link")))
	for _, c := range []struct {
		name  string
		mount specs.Mount
		want  string
	}{
		{"missing source", specs.Mount{Destination: "/data", Source: "/srv/x/y/z", Options: []string{"bind"}},
			"mount /srv/x/y/z at /data: no such file or directory (the source is missing on the host; create it, or use -v NAME:/data)"},
		{"directory over file", specs.Mount{Destination: "/etc/passwd", Source: src, Options: []string{"bind"}},
			"mount " + src + " at /etc/passwd: invalid argument (one of source and target is a directory, the other a file)"},
		{"below a file", specs.Mount{Destination: "/etc/passwd/x", Source: src, Options: []string{"bind"}},
			"mount " + src + " at /etc/passwd/x: not a directory"},
		{"unknown type", specs.Mount{Destination: "/data", Type: "beerfs", Source: "x"},
			"mount x at /data: no such device (this kernel has no file system of type beerfs)"},
		{"unknown option", specs.Mount{Destination: "/data", Type: "tmpfs", Source: "x", Options: []string{"beer=1"}},
			"mount x at /data: invalid argument (the file system does not take one of the options beer=1"},
		{"remount", specs.Mount{Destination: "/data", Source: src, Options: []string{"remount", "bind", "ro"}}, "change the mount at /data: invalid argument (nothing is mounted there)"},
		{"no type", specs.Mount{Destination: "/data", Source: src}, "neither a type nor the option bind"},
		{"over the root", specs.Mount{Destination: "/x/..", Source: src, Options: []string{"bind"}}, "the root cannot be mounted over"},
		{"tmpfs at /proc", specs.Mount{Destination: "/proc", Type: "tmpfs", Source: "x"}, "only a procfs"},
		{"in /proc", specs.Mount{Destination: "/proc/self/attr", Type: "tmpfs", Source: "x"}, "only a procfs"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := l.in(t)
			spec := l.spec("true")
			spec.Mounts = append(spec.Mounts, c.mount)
			err := l.fails(spec)
			l.contains("text", err.Error(), c.want)
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than a sentence: %q", err)
			}
			if !errors.Is(err, fault.Invalid) && !errors.Is(err, fault.NotImplemented) {
				t.Errorf("no class: %v", err)
			}
		})
	}
}

func TestMaskedAndReadOnlyPaths(t *testing.T) {
	l := newLab(t)
	l.write("hide/file", "secret\n", 0o644)
	l.write("hidden", "secret\n", 0o644)
	spec := l.spec("ls /hide | wc -l; cat /hidden; cat /proc/timer_list | wc -c; touch /hide/x 2>&1; touch /keep/x 2>&1; echo 1 > /proc/sys/kernel/domainname; ls /sys/firmware | wc -l; true")
	l.must(os.Mkdir(filepath.Join(l.root, "keep"), 0o755))
	spec.Linux.MaskedPaths = append(spec.Linux.MaskedPaths, "/hide", "/hidden", "/not/there", "/hidden/below")
	spec.Linux.ReadonlyPaths = append(spec.Linux.ReadonlyPaths, "/keep", "/neither")
	l.contains("output", l.run(spec), "0\n0\n", "touch: /hide/x: Read-only file system", "touch: /keep/x: Read-only file system",
		"/proc/sys/kernel/domainname: Read-only file system", "\n0")
}

func TestDevices(t *testing.T) {
	l := newLab(t)
	mode, uid := os.FileMode(0o640), uint32(7)
	spec := l.spec("stat -c '%t:%T %a %u' /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty /dev/mine /dev/deep/disk; test -p /dev/pipe && echo pipe; readlink /dev/ptmx; readlink /dev/fd")
	spec.Linux.Devices = []specs.LinuxDevice{
		{Path: "/dev/mine", Type: "c", Major: 1, Minor: 3, FileMode: &mode, UID: &uid},
		{Path: "/dev/deep/disk", Type: "b", Major: 7, Minor: 300},
		{Path: "/dev/pipe", Type: "p"},
	}
	l.equal("output", l.run(spec), "1:3 666 0\n1:5 666 0\n1:7 666 0\n1:8 666 0\n1:9 666 0\n5:0 666 0\n1:3 640 7\n7:12c 666 0\npipe\npts/ptmx\n/proc/self/fd")
	for _, bad := range []specs.LinuxDevice{{Path: "/dev/x", Type: "z"}, {Path: "/dev/x", Type: "c", Major: -1}, {Path: "/", Type: "c"}} {
		spec.Linux.Devices = []specs.LinuxDevice{bad}
		if err := l.fails(spec); !errors.Is(err, fault.Invalid) {
			t.Errorf("device %v: %v", bad, err)
		}
	}
}

// layers makes n layers, each with a file of its own; 0 is the top.
func (l *lab) layers(n int) []string {
	var dirs []string
	for i := range n {
		d := filepath.Join(l.dir, "layers", fmt.Sprintf("layer-with-a-rather-long-name-as-digests-have-them-%040d", i))
		l.must(os.MkdirAll(filepath.Join(d, "l"), 0o755))
		l.must(os.WriteFile(filepath.Join(d, "l", fmt.Sprint(i)), nil, 0o644))
		l.must(os.WriteFile(filepath.Join(d, "l/top"), fmt.Append(nil, i), 0o644))
		dirs = append(dirs, d)
	}
	return append(dirs, l.root)
}

func TestOverlay(t *testing.T) {
	l := newLab(t)
	o := &Overlay{Lower: l.layers(127), Upper: filepath.Join(l.dir, "upper"), Work: filepath.Join(l.dir, "work")}
	l.must(os.Mkdir(o.Upper, 0o755))
	l.must(os.Mkdir(o.Work, 0o755))
	spec := l.spec("ls /l | wc -l; cat /l/top; echo; touch /new && echo ok")
	got := l.run(spec, func(s *LaunchSpec) { s.Overlay = o })
	l.equal("128 layers", got, "128\n0\nok")
	if _, err := os.Stat(filepath.Join(o.Upper, "new")); err != nil {
		t.Error(err)
	}

	spec = l.spec("touch /new 2>&1; true")
	o.ReadOnly = true
	l.equal("read-only", l.run(spec, func(s *LaunchSpec) { s.Overlay = o }), "touch: /new: Read-only file system")

	o.Lower = append([]string{filepath.Join(l.dir, "nowhere")}, o.Lower...)
	l.contains("missing layer", l.fails(spec, func(s *LaunchSpec) { s.Overlay = o }).Error(), "layer "+o.Lower[0])
}

// A running container is reached through its root's descriptor, its volumes included.
func TestRootDescriptor(t *testing.T) {
	l := newLab(t)
	src := l.source("src")
	for _, user := range []bool{false, true} {
		spec := l.spec("sleep", "100")
		spec.Mounts = append(spec.Mounts, specs.Mount{Destination: "/data", Source: src, Options: []string{"bind"}})
		if user {
			spec.Linux.Namespaces = append(spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
			mapIDs(spec)
		}
		b, err := l.launch(spec)
		l.must(err)
		fd, err := unix.Openat(int(b.Root.Fd()), "data/file", unix.O_RDONLY, 0)
		if err != nil {
			t.Errorf("user namespace %v: %v", user, err)
			continue
		}
		unix.Close(fd)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	l.must(err)
	if strings.Contains(string(mounts), l.dir) {
		t.Errorf("the host's mount table shows a container:\n%s", mounts)
	}
}
