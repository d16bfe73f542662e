package seccomp

import (
	"encoding/binary"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
)

// Filter is a compiled profile. Who starts many containers with one profile
// compiles it once.
type Filter struct {
	Program []unix.SockFilter // struct sock_filter, 1 to MaxInstructions of them
	Flags   uint              // SECCOMP_FILTER_FLAG_*, without NEW_LISTENER
}

// NewFilter compiles a profile for a kernel of the given architecture. One that
// notifies a listener cannot be a Filter: the listener belongs to one container.
func NewFilter(p *specs.LinuxSeccomp, arch string) (*Filter, error) {
	program, flags, err := Compile(p, arch)
	if err != nil {
		return nil, err
	}
	if len(program) == 0 || flags&unix.SECCOMP_FILTER_FLAG_NEW_LISTENER != 0 {
		return nil, fault.New(fault.Invalid, "seccomp: the profile is for one container alone")
	}
	return &Filter{Program: program, Flags: flags}, nil
}

// A filter is encoded as its flags, four bytes, and eight bytes an instruction:
// the fields of struct sock_filter; little end first.
const (
	flagBytes        = 4
	instructionBytes = 8
)

// Encode returns the bytes that DecodeFilter reads.
func (f *Filter) Encode() []byte {
	b := make([]byte, 0, flagBytes+len(f.Program)*instructionBytes)
	b = binary.LittleEndian.AppendUint32(b, uint32(f.Flags))
	for _, i := range f.Program {
		b = binary.LittleEndian.AppendUint16(b, i.Code)
		b = append(b, i.Jt, i.Jf)
		b = binary.LittleEndian.AppendUint32(b, i.K)
	}
	return b
}

// DecodeFilter reads what Encode wrote. The kernel checks the program itself.
func DecodeFilter(b []byte) (*Filter, error) {
	n := (len(b) - flagBytes) / instructionBytes
	if n < 1 || n > MaxInstructions || len(b) != flagBytes+n*instructionBytes {
		return nil, fault.New(fault.Invalid, "seccomp: %d bytes are no filter", len(b))
	}
	f := &Filter{Flags: uint(binary.LittleEndian.Uint32(b)), Program: make([]unix.SockFilter, n)}
	if f.Flags&unix.SECCOMP_FILTER_FLAG_NEW_LISTENER != 0 {
		return nil, fault.New(fault.Invalid, "seccomp: a filter that notifies needs its profile")
	}
	for i, b := 0, b[flagBytes:]; i < n; i, b = i+1, b[instructionBytes:] {
		f.Program[i] = unix.SockFilter{Code: binary.LittleEndian.Uint16(b), Jt: b[2], Jf: b[3], K: binary.LittleEndian.Uint32(b[4:])}
	}
	return f, nil
}
