package launch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Trampoline is a program of some two hundred bytes in a sealed memfd. All it does
// is to execute another program, with its own arguments and environment.
//
// A child that calls execve is still the program that cloned it. If the container
// names /proc/self/exe as its program or as the interpreter of a script, that is
// executed in the container, where its file can be held open and later be
// written to (CVE-2019-5736): a file of the host, unless the whole program was
// started from one that nobody can write, at the price of starting twice. When
// the child goes over the trampoline, /proc/self/exe is the trampoline.
//
// The rules by which execve changes ids, capabilities and no_new_privs depend on
// nothing that the first of two execve with the same credentials changes, so the
// program gets what it would have got without the trampoline. It is not for a
// label that is set for the next execve, nor for a filter that knows no execveat.
//
// The report socket must not be close-on-exec at the first execve. The trampoline
// makes it so, and ends if it cannot: then it runs for the second time, because the
// container's program is /proc/self/exe.
type Trampoline struct{ file *os.File }

// The image: a header, the code from trampoline_*.s, the data at a fixed place.
const (
	imageAddress  = 0x400000
	elfHeader     = 64
	programHeader = 56
	headerSize    = elfHeader + programHeader
	dataOffset    = 0x400
	endMark       = "trampend" // the bytes behind the code
)

// trampolineAddress is where the code lies in this program.
func trampolineAddress() uintptr

// NewTrampoline makes an empty trampoline, for Builder.ExecTrampoline.
func NewTrampoline() (*Trampoline, error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate("trampoline", flags|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // MFD_EXEC came with Linux 6.3
		fd, err = unix.MemfdCreate("trampoline", flags)
	}
	if err != nil {
		return nil, fmt.Errorf("make memory for the trampoline: %w", err)
	}
	return &Trampoline{os.NewFile(uintptr(fd), "trampoline")}, nil
}

// File is the trampoline's file. The child may give the descriptor another number.
func (t *Trampoline) File() *os.File { return t.file }

// ExecTrampoline adds an execve of the first of the candidates that exists and may be
// executed, by way of the trampoline that the child has as fd. report is the number
// of the report socket, which the child must have made inheritable.
func (b *Builder) ExecTrampoline(t *Trampoline, fd Arg, report int, candidates []string, argv, env Arg) {
	step := b.Call(unix.SYS_EXECVEAT, fd, b.Str(""), argv, env, Int(unix.AT_EMPTY_PATH))
	if err := t.write(uint32(report), uint32(step.i), candidates); err != nil {
		b.fail("launch program: " + err.Error())
	}
}

// write fills the file and seals it.
func (t *Trampoline) write(report, number uint32, candidates []string) error {
	image := make([]byte, headerSize, dataOffset+1024)
	image = append(image, codeAt(trampolineAddress())...)
	if len(image) > dataOffset {
		return errors.New("the code of the trampoline is too long")
	}
	image = image[:dataOffset]
	image = binary.NativeEndian.AppendUint32(image, report)
	image = binary.NativeEndian.AppendUint32(image, number)
	for _, c := range candidates {
		image = append(image, c...)
		image = append(image, 0)
	}
	image = append(image, 0)
	writeHeader(image)
	if _, err := unix.Pwrite(int(t.file.Fd()), image, 0); err != nil {
		return fmt.Errorf("write the trampoline: %w", err)
	}
	const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if _, err := unix.FcntlInt(t.file.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		return fmt.Errorf("seal the trampoline: %w", err)
	}
	return nil
}

// codeAt is the bytes of a program in this program's text, up to its end mark.
func codeAt(start uintptr) []byte {
	text := unsafe.Slice(*(**byte)(unsafe.Pointer(&start)), dataOffset)
	for i := range text {
		if string(text[i:i+len(endMark)]) == endMark {
			return text[:i]
		}
	}
	return nil // not reached: the mark is in the code
}

// writeHeader describes the image as a program of one segment, which may be read and
// executed (elf(5)).
func writeHeader(image []byte) {
	const (
		executable = 2 // ET_EXEC
		load       = 1 // PT_LOAD
		readExec   = 5 // PF_R | PF_X
		pageSize   = 4096
	)
	machine := map[string]uint16{"amd64": 62, "arm64": 183}[runtime.GOARCH] // EM_X86_64, EM_AARCH64
	put := binary.LittleEndian
	copy(image, "\x7fELF\x02\x01\x01") // 64 bits, little endian, version 1
	put.PutUint16(image[16:], executable)
	put.PutUint16(image[18:], machine)
	put.PutUint32(image[20:], 1)
	put.PutUint64(image[24:], imageAddress+headerSize) // entry
	put.PutUint64(image[32:], elfHeader)               // offset of the program header
	put.PutUint16(image[52:], elfHeader)
	put.PutUint16(image[54:], programHeader)
	put.PutUint16(image[56:], 1) // one of them
	segment := image[elfHeader:]
	put.PutUint32(segment, load)
	put.PutUint32(segment[4:], readExec)
	put.PutUint64(segment[16:], imageAddress)
	put.PutUint64(segment[24:], imageAddress)
	put.PutUint64(segment[32:], uint64(len(image))) // in the file
	put.PutUint64(segment[40:], uint64(len(image))) // in memory
	put.PutUint64(segment[48:], pageSize)
}
