package system

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/sampan-containers/sampan/box/tool"
)

func hello(c *tool.Call) int {
	host, _ := os.Hostname() // empty if the kernel does not say
	fmt.Fprintf(c.Out, `Hello from inside a container!

This greeting was printed by the program /bin/sampan-box as process %d of the
container %s, with a root file system, processes, network and
hostname of its own, on Linux %s.

Try next:
    sampan run -it sampan/box          a shell in a new container
    sampan ps -a                       what runs, and what has ended
`, os.Getpid(), host, release())
	return tool.OK
}

func release() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return "?"
	}
	return unix.ByteSliceToString(u.Release[:])
}

func uname(c *tool.Call) int {
	o, status, ok := c.Options("amnrspvio a=all m=machine n=nodename r=kernel-release s=kernel-name v=kernel-version")
	if !ok {
		return status
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return c.Fail("%s", err)
	}
	text := unix.ByteSliceToString
	var parts []string
	for _, f := range []struct {
		letter byte
		value  string
	}{{'s', text(u.Sysname[:])}, {'n', text(u.Nodename[:])}, {'r', text(u.Release[:])}, {'v', text(u.Version[:])}, {'m', text(u.Machine[:])}, {'o', "GNU/Linux"}} {
		if o.Has('a') || o.Has(f.letter) {
			parts = append(parts, f.value)
		}
	}
	if len(parts) == 0 {
		parts = []string{text(u.Sysname[:])}
	}
	fmt.Fprintln(c.Out, strings.Join(parts, " "))
	return tool.OK
}

func hostname(c *tool.Call) int {
	o, status, ok := c.Options("isf")
	if !ok {
		return status
	}
	if len(o.Args) > 0 {
		if err := unix.Sethostname([]byte(o.Args[0])); err != nil {
			return c.Fail("%s", err)
		}
		return tool.OK
	}
	name, err := os.Hostname()
	if err != nil {
		return c.Fail("%s", err)
	}
	if o.Has('s') {
		name, _, _ = strings.Cut(name, ".")
	}
	fmt.Fprintln(c.Out, name)
	return tool.OK
}

func nproc(c *tool.Call) int {
	fmt.Fprintln(c.Out, runtime.NumCPU())
	return tool.OK
}

func tty(c *tool.Call) int {
	name, err := os.Readlink("/proc/self/fd/0")
	if err != nil || !term.IsTerminal(0) {
		fmt.Fprintln(c.Out, "not a tty")
		return tool.Failed
	}
	fmt.Fprintln(c.Out, name)
	return tool.OK
}

func clearScreen(c *tool.Call) int {
	fmt.Fprint(c.Out, "\x1b[H\x1b[2J\x1b[3J")
	return tool.OK
}

func uptime(c *tool.Call) int {
	var si unix.Sysinfo_t
	if err := unix.Sysinfo(&si); err != nil {
		return c.Fail("%s", err)
	}
	const scale = 1 << 16
	up := time.Duration(si.Uptime) * time.Second
	fmt.Fprintf(c.Out, " %s up %s, load average: %.2f, %.2f, %.2f\n", time.Now().Format("15:04:05"), up,
		float64(si.Loads[0])/scale, float64(si.Loads[1])/scale, float64(si.Loads[2])/scale)
	return tool.OK
}

// memory reads /proc/meminfo in bytes.
func memory() (map[string]uint64, error) {
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return nil, err
	}
	values := map[string]uint64{}
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) >= 2 {
			n, _ := strconv.ParseUint(f[1], 10, 64) // 0 for what is no number
			values[strings.TrimSuffix(f[0], ":")] = n * 1024
		}
	}
	return values, nil
}

func free(c *tool.Call) int {
	o, status, ok := c.Options("bkmgh b=bytes k=kibi m=mebi g=gibi h=human")
	if !ok {
		return status
	}
	m, err := memory()
	if err != nil {
		return c.Fail("%s", tool.Reason(err))
	}
	unit := uint64(1024)
	switch {
	case o.Has('b'):
		unit = 1
	case o.Has('m'):
		unit = 1 << 20
	case o.Has('g'):
		unit = 1 << 30
	}
	show := func(n uint64) string {
		if !o.Has('h') {
			return strconv.FormatUint(n/unit, 10)
		}
		v := float64(n)
		for _, suffix := range []string{"B", "Ki", "Mi", "Gi"} {
			if v < 1024 {
				return fmt.Sprintf("%.1f%s", v, suffix)
			}
			v /= 1024
		}
		return fmt.Sprintf("%.1fTi", v)
	}
	cache := m["Buffers"] + m["Cached"] + m["SReclaimable"]
	fmt.Fprintf(c.Out, "%-7s %11s %11s %11s %11s %11s %11s\n", "", "total", "used", "free", "shared", "buff/cache", "available")
	fmt.Fprintf(c.Out, "%-7s %11s %11s %11s %11s %11s %11s\n", "Mem:", show(m["MemTotal"]), show(m["MemTotal"]-min(m["MemTotal"], m["MemFree"]+cache)), show(m["MemFree"]), show(m["Shmem"]), show(cache), show(m["MemAvailable"]))
	fmt.Fprintf(c.Out, "%-7s %11s %11s %11s\n", "Swap:", show(m["SwapTotal"]), show(m["SwapTotal"]-m["SwapFree"]), show(m["SwapFree"]))
	return tool.OK
}

var mountFlags = map[string]uintptr{
	"ro": unix.MS_RDONLY, "nosuid": unix.MS_NOSUID, "nodev": unix.MS_NODEV, "noexec": unix.MS_NOEXEC,
	"sync": unix.MS_SYNCHRONOUS, "remount": unix.MS_REMOUNT, "bind": unix.MS_BIND, "rbind": unix.MS_BIND | unix.MS_REC,
	"noatime": unix.MS_NOATIME, "nodiratime": unix.MS_NODIRATIME, "relatime": unix.MS_RELATIME, "move": unix.MS_MOVE,
	"private": unix.MS_PRIVATE, "rprivate": unix.MS_PRIVATE | unix.MS_REC, "shared": unix.MS_SHARED, "rshared": unix.MS_SHARED | unix.MS_REC,
	"slave": unix.MS_SLAVE, "rslave": unix.MS_SLAVE | unix.MS_REC, "unbindable": unix.MS_UNBINDABLE,
}

func mount(c *tool.Call) int {
	for i, arg := range c.Args {
		if name, long := strings.CutPrefix(arg, "--"); long && mountFlags[strings.TrimPrefix(name, "make-")] != 0 {
			c.Args[i] = "-o" + strings.TrimPrefix(name, "make-")
		}
	}
	o, status, ok := c.Options("t:o:rnv t=types o=options r=read-only")
	if !ok {
		return status
	}
	if len(o.Args) == 0 && !o.Has('o') {
		data, err := os.ReadFile("/proc/self/mounts")
		if err != nil {
			return c.Fail("%s", tool.Reason(err))
		}
		for line := range strings.Lines(string(data)) {
			if f := strings.Fields(line); len(f) >= 4 {
				fmt.Fprintf(c.Out, "%s on %s type %s (%s)\n", f[0], f[1], f[2], f[3])
			}
		}
		return tool.OK
	}
	var flags uintptr
	if o.Has('r') {
		flags |= unix.MS_RDONLY
	}
	var data []string
	for _, list := range o.Values('o') {
		for opt := range strings.SplitSeq(list, ",") {
			switch flag, known := mountFlags[opt]; {
			case known:
				flags |= flag
			case opt == "rw" || opt == "defaults" || opt == "loop" || opt == "":
			default:
				data = append(data, opt)
			}
		}
	}
	source, target := "none", ""
	switch len(o.Args) {
	case 1:
		target = o.Args[0]
	case 2:
		source, target = o.Args[0], o.Args[1]
	default:
		return c.Misused("needs a source and a target")
	}
	if err := unix.Mount(source, target, o.Value('t', ""), flags, strings.Join(data, ",")); err != nil {
		return c.Fail("cannot mount %s on %s: %s", source, target, err)
	}
	return tool.OK
}

func umount(c *tool.Call) int {
	o, status, ok := c.Options("lfrn l=lazy f=force")
	if !ok {
		return status
	}
	flags := 0
	if o.Has('l') {
		flags |= unix.MNT_DETACH
	}
	if o.Has('f') {
		flags |= unix.MNT_FORCE
	}
	for _, target := range o.Args {
		if err := unix.Unmount(target, flags); err != nil {
			c.Fail("cannot unmount %s: %s", target, err)
		}
	}
	return c.Status()
}

func mknod(c *tool.Call) int {
	o, status, ok := c.Options("m: m=mode")
	if !ok {
		return status
	}
	kinds := map[string]uint32{"b": unix.S_IFBLK, "c": unix.S_IFCHR, "u": unix.S_IFCHR, "p": unix.S_IFIFO}
	if len(o.Args) < 2 || kinds[o.Args[1]] == 0 || (o.Args[1] != "p") != (len(o.Args) == 4) {
		return c.Misused("needs a name, a type and two numbers")
	}
	mode, err := strconv.ParseUint(o.Value('m', "666"), 8, 12)
	if err != nil {
		return c.Misused("%q is not an octal mode", o.Value('m', ""))
	}
	dev := uint64(0)
	if o.Args[1] != "p" {
		major, err1 := strconv.ParseUint(o.Args[2], 0, 12)
		minor, err2 := strconv.ParseUint(o.Args[3], 0, 20)
		if err1 != nil || err2 != nil {
			return c.Misused("%s:%s is not a device number", o.Args[2], o.Args[3])
		}
		dev = unix.Mkdev(uint32(major), uint32(minor))
	}
	if err := unix.Mknod(o.Args[0], kinds[o.Args[1]]|uint32(mode), int(dev)); err != nil {
		return c.FailPath(o.Args[0], err)
	}
	return tool.OK
}

func which(c *tool.Call) int {
	o, status, ok := c.Options("a a=all")
	if !ok {
		return status
	}
	for _, name := range o.Args {
		found := false
		for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
			path := filepath.Join(dir, name)
			if strings.Contains(name, "/") {
				path = name
			}
			if st, err := os.Stat(path); err == nil && !st.IsDir() && st.Mode()&0o111 != 0 {
				fmt.Fprintln(c.Out, path)
				if found = true; !o.Has('a') {
					break
				}
			}
		}
		if !found {
			status = tool.Failed
		}
	}
	return status
}
