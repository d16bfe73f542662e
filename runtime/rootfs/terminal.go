package rootfs

import (
	"syscall"
	"unsafe"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/runtime/launch"
)

const devpts = "/dev/pts"

// Ptmx adds the steps that open the multiplexer of the container's own devpts as an
// O_PATH descriptor. The kernel must call it a devpts, so a look-alike in the
// image does not pass (CVE-2025-52565). Only if Devpts.
func (p *Plan) Ptmx(b *launch.Builder, t Tree, ptmx launch.Slot) {
	b.At("open the container's terminals", launch.Hint{Errno: syscall.ENOTTY, Text: "what is mounted at /dev/pts is no devpts"})
	dir, typ := b.Slot(), b.Slot()
	wrong, done := b.Label(), b.Label()
	b.Openat2(launch.In(t.Root), devpts, pathFlags|unix.O_DIRECTORY, 0, inside).Into(dir)
	st := b.Space(statfsSize)
	b.Call(unix.SYS_FSTATFS, launch.In(dir), st.Addr())
	b.Load(typ, st, 0, 0xffffffff)
	b.IfNot(typ, unix.DEVPTS_SUPER_MAGIC, wrong)
	b.Openat(launch.In(dir), "ptmx", pathFlags|unix.O_NOFOLLOW, 0).Into(ptmx)
	b.Goto(done)
	b.Mark(wrong)
	b.Fail(syscall.ENOTTY)
	b.Mark(done)
	b.Close(dir)
	b.Free(typ)
}

// Console is what a terminal begins with.
type Console struct {
	Size      *specs.Box
	RawOutput bool // see Raw
}

// Raw is the mode of a new terminal (tty_std_termios of the kernel) without ONLCR.
func Raw() *unix.Termios {
	const control = 'A' - 1
	t := &unix.Termios{
		Iflag: unix.ICRNL | unix.IXON, Oflag: unix.OPOST, Cflag: unix.B38400 | unix.CS8 | unix.CREAD,
		Lflag: unix.ISIG | unix.ICANON | unix.ECHO | unix.ECHOE | unix.ECHOK | unix.ECHOCTL | unix.ECHOKE | unix.IEXTEN,
	}
	for i, c := range map[int]uint8{
		unix.VINTR: 'C' - control, unix.VQUIT: '\\' - control, unix.VERASE: 0x7f, unix.VKILL: 'U' - control, unix.VEOF: 'D' - control,
		unix.VMIN: 1, unix.VSTART: 'Q' - control, unix.VSTOP: 'S' - control, unix.VSUSP: 'Z' - control, unix.VREPRINT: 'R' - control,
		unix.VDISCARD: 'O' - control, unix.VWERASE: 'W' - control, unix.VLNEXT: 'V' - control,
	} {
		t.Cc[i] = c
	}
	return t
}

// Terminal adds the steps that make a terminal in the container's devpts and bind
// it to /dev/console. The slots get master and slave.
func (p *Plan) Terminal(b *launch.Builder, t Tree, c *Console, master, slave launch.Slot) error {
	if !p.Devpts() {
		return fault.New(fault.Invalid, "a terminal needs a devpts mounted at /dev/pts")
	}
	b.At("make a terminal")
	dir := b.Slot()
	b.Openat2(launch.In(t.Root), devpts, pathFlags|unix.O_DIRECTORY, 0, inside).Into(dir)
	b.Openat(launch.In(dir), "ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NOFOLLOW, 0).Into(master)
	b.Close(dir)
	unlock := b.Space(4)
	b.Call(unix.SYS_IOCTL, launch.In(master), launch.Int(unix.TIOCSPTLCK), unlock.Addr())
	// By the master's own devpts, not by a path: Linux 4.13.
	b.Call(unix.SYS_IOCTL, launch.In(master), launch.Int(unix.TIOCGPTPEER),
		launch.Int(unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)).Into(slave)
	if c.RawOutput {
		mode := b.Space(int(unsafe.Sizeof(unix.Termios{})))
		*(*unix.Termios)(unsafe.Pointer(&mode.Bytes()[0])) = *Raw()
		b.Call(unix.SYS_IOCTL, launch.In(slave), launch.Int(unix.TCSETS), mode.Addr())
	}
	if size := c.Size; size != nil {
		ws := b.Space(int(unsafe.Sizeof(unix.Winsize{})))
		*(*unix.Winsize)(unsafe.Pointer(&ws.Bytes()[0])) = unix.Winsize{Row: uint16(size.Height), Col: uint16(size.Width)}
		b.Call(unix.SYS_IOCTL, launch.In(master), launch.Int(unix.TIOCSWINSZ), ws.Addr())
	}
	if p.bindDev {
		return nil // the host's /dev/console is not ours to cover
	}
	b.At("attach the terminal at /dev/console",
		launch.Hint{Errno: syscall.ELOOP, Text: "the image has a symbolic link there"})
	dev, tree := b.Slot(), b.Slot()
	b.CloneTree(launch.In(slave), "", 0).Into(tree)
	resolve(b, t, dev, "/dev", true, inside)
	placeFile(b, dev, "console", launch.In(tree))
	b.Close(dev, tree)
	return nil
}
