package launch

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// FindProgram adds a look for the first of some files that is a program. It fails with
// ENOENT if none is there, and with EACCES if one is, but is a directory or nobody may
// execute it. What the execve itself would find out is left to that.
func (b *Builder) FindProgram(files []string) {
	found, failure, field := b.Label(), b.Slot(), b.Slot()
	b.Set(failure, Int(int(syscall.ENOENT)))
	var layout unix.Statx_t
	st := b.Space(int(unsafe.Sizeof(layout)))
	mode := int(unsafe.Offsetof(layout.Mode))
	for _, file := range files {
		next, useless, isFile := b.Label(), b.Label(), b.Label()
		b.Call(unix.SYS_STATX, Cwd(), b.Str(file), Int(0), Int(unix.STATX_TYPE|unix.STATX_MODE), st.Addr()).Else(next)
		b.Load(field, st, mode, unix.S_IFMT)
		b.IfNot(field, unix.S_IFDIR, isFile)
		b.Goto(useless)
		b.Mark(isFile)
		b.Load(field, st, mode, 0o111)
		b.IfNot(field, 0, found)
		b.Mark(useless)
		b.Set(failure, Int(int(syscall.EACCES)))
		b.Mark(next)
	}
	b.FailWith(In(failure))
	b.Mark(found)
	b.Free(failure, field)
}
