package cgroup

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
)

// The v2 device filter is a program of type BPF_PROG_TYPE_CGROUP_DEVICE. Its
// context is struct bpf_cgroup_dev_ctx: access_type (operation << 16 | type),
// major, minor, 32 bits each. It returns 1 to allow.

// insn is struct bpf_insn.
type insn struct {
	op   uint8
	regs uint8 // destination in the low half, source in the high
	off  int16
	imm  int32
}

// The registers, by what the program keeps in them.
const (
	regResult = 0
	regCtx    = 1
	regKind   = 2
	regAccess = 3
	regMajor  = 4
	regMinor  = 5
	regTmp    = 6
)

// The instructions we need, named as in linux/bpf.h.
const (
	opLoadW   = unix.BPF_LDX | unix.BPF_MEM | unix.BPF_W
	opAnd32   = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K
	opRsh32   = unix.BPF_ALU | unix.BPF_RSH | unix.BPF_K
	opMov32   = unix.BPF_ALU | unix.BPF_MOV | unix.BPF_K
	opMovReg  = unix.BPF_ALU | unix.BPF_MOV | unix.BPF_X
	opJeq     = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	opJne     = unix.BPF_JMP | unix.BPF_JNE | unix.BPF_K
	opJneReg  = unix.BPF_JMP | unix.BPF_JNE | unix.BPF_X
	opExit    = unix.BPF_JMP | unix.BPF_EXIT
	bpfBlock  = 1 // BPF_DEVCG_DEV_BLOCK
	bpfChar   = 2 // BPF_DEVCG_DEV_CHAR
	toNext    = -1
	offAccess = 0
	offMajor  = 4
	offMinor  = 8
)

func (s *deviceSet) program() []insn {
	prog := []insn{
		{opLoadW, regKind | regCtx<<4, offAccess, 0},
		{opMovReg, regAccess | regKind<<4, 0, 0},
		{opAnd32, regKind, 0, 0xffff},
		{opRsh32, regAccess, 0, 16},
		{opLoadW, regMajor | regCtx<<4, offMajor, 0},
		{opLoadW, regMinor | regCtx<<4, offMinor, 0},
	}
	for _, d := range s.inOrder() {
		prog = append(prog, s.exception(d)...)
	}
	return append(prog, verdict(s.allow)...)
}

// exception returns the block for one exception; a test that fails jumps behind it.
func (s *deviceSet) exception(d device) []insn {
	kind := int32(bpfChar)
	if d.kind == 'b' {
		kind = bpfBlock
	}
	block := []insn{{opJne, regKind, toNext, kind}}
	if acc := s.exceptions[d]; acc != mayAll {
		block = append(block,
			insn{opMovReg, regTmp | regAccess<<4, 0, 0},
			insn{opAnd32, regTmp, 0, int32(acc)})
		if s.allow {
			// Denied as soon as one operation asked for is denied.
			block = append(block, insn{opJeq, regTmp, toNext, 0})
		} else {
			// Allowed only if all operations asked for are allowed.
			block = append(block, insn{opJneReg, regTmp | regAccess<<4, toNext, 0})
		}
	}
	if d.major != anyNumber {
		block = append(block, insn{opJne, regMajor, toNext, int32(d.major)})
	}
	if d.minor != anyNumber {
		block = append(block, insn{opJne, regMinor, toNext, int32(d.minor)})
	}
	block = append(block, verdict(!s.allow)...)
	for i := range block {
		if block[i].off == toNext {
			block[i].off = int16(len(block) - i - 1)
		}
	}
	return block
}

func verdict(allow bool) []insn {
	result := int32(0)
	if allow {
		result = 1
	}
	return []insn{{opMov32, regResult, 0, result}, {opExit, 0, 0, 0}}
}

// maxInsns is the verifier's limit for programs of unprivileged users and of
// kernels before 5.2.
const maxInsns = 4096

func encode(prog []insn) []byte {
	var b bytes.Buffer
	for _, i := range prog {
		b.Write([]byte{i.op, i.regs})
		binary.Write(&b, binary.NativeEndian, i.off) //nolint:errcheck // a Buffer cannot fail
		binary.Write(&b, binary.NativeEndian, i.imm) //nolint:errcheck
	}
	return b.Bytes()
}

// bpfDevices attaches the filter to a v2 group. A program that is there already is
// replaced in one step, so that no moment is without a filter.
func (p *part) bpfDevices(group string, s *deviceSet) error {
	fail := func(doing string, err error) error {
		hint := ""
		if errors.Is(err, unix.EPERM) {
			hint = " (CAP_BPF and CAP_NET_ADMIN, or CAP_SYS_ADMIN, are needed)"
		}
		return fmt.Errorf("device rules of cgroup %s cannot be applied: %s: %w%s", group, doing, err, hint)
	}
	prog := s.program()
	if len(prog) > maxInsns {
		return fault.New(fault.Invalid, "device rules of cgroup %s cannot be applied: %d rules are too many for one program", group, len(s.exceptions))
	}
	fd, err := loadDeviceProgram(encode(prog))
	if err != nil {
		return fail("load the program", err)
	}
	defer unix.Close(fd)
	dir, err := open(p.dir(), unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return fail("open "+p.dir(), err)
	}
	defer unix.Close(dir)
	old := -1
	if !p.new {
		if old, err = attachedProgram(dir); err != nil {
			return fail("find the present program", err)
		}
		defer unix.Close(old)
	}
	if err := attachProgram(dir, fd, old); err != nil {
		return fail("attach the program", err)
	}
	return nil
}

const (
	attachDevice   = 6 // BPF_CGROUP_DEVICE
	progTypeDevice = 15
	flagAllowMulti = 1 << 1
	flagReplace    = 1 << 2
	maxAttached    = 64
	programName    = "sampan_dev"
	cmdProgLoad    = 5
	cmdProgAttach  = 8
	systemdName    = "sd_devices"
	cmdProgGetFdID = 13
	cmdObjGetInfo  = 15
	cmdProgQuery   = 16
)

func bpf(cmd uintptr, attr unsafe.Pointer, size uintptr) (int, error) {
	for {
		n, _, errno := unix.Syscall(unix.SYS_BPF, cmd, uintptr(attr), size)
		if errno == 0 {
			return int(n), nil
		}
		// The verifier gives EAGAIN when a signal is pending.
		if errno != unix.EINTR && errno != unix.EAGAIN {
			return -1, errno
		}
	}
}

func loadDeviceProgram(code []byte) (int, error) {
	license := []byte("Apache-2.0\x00")
	attr := struct {
		typ, count         uint32
		insns, license     uint64
		logLevel, logSize  uint32
		logBuf             uint64
		kernVersion, flags uint32
		name               [16]byte
	}{typ: progTypeDevice, count: uint32(len(code) / 8)}
	attr.insns = uint64(uintptr(unsafe.Pointer(&code[0])))
	attr.license = uint64(uintptr(unsafe.Pointer(&license[0])))
	copy(attr.name[:], programName)
	fd, err := bpf(cmdProgLoad, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	if err == unix.EPERM {
		// Before 5.11 programs count against RLIMIT_MEMLOCK, by default 64 KiB.
		// The limit is put back: the container inherits ours.
		var was unix.Rlimit
		none := unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
		if unix.Prlimit(0, unix.RLIMIT_MEMLOCK, &none, &was) == nil {
			fd, err = bpf(cmdProgLoad, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
			_ = unix.Prlimit(0, unix.RLIMIT_MEMLOCK, &was, nil)
		}
	}
	runtime.KeepAlive(code)
	runtime.KeepAlive(license)
	return fd, err
}

func attachProgram(dir, prog, old int) error {
	attr := struct{ target, prog, typ, flags, replace uint32 }{
		target: uint32(dir), prog: uint32(prog), typ: attachDevice, flags: flagAllowMulti,
	}
	if old >= 0 {
		attr.flags |= flagReplace
		attr.replace = uint32(old)
	}
	_, err := bpf(cmdProgAttach, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	return err
}

// attachedProgram opens the group's only device program; -1 when it has none.
func attachedProgram(dir int) (int, error) {
	var ids [maxAttached]uint32
	attr := struct {
		target, typ, query, flags uint32
		ids                       uint64
		count, pad                uint32
	}{target: uint32(dir), typ: attachDevice, count: maxAttached}
	attr.ids = uint64(uintptr(unsafe.Pointer(&ids[0])))
	_, err := bpf(cmdProgQuery, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	runtime.KeepAlive(&ids)
	if err != nil {
		return -1, err
	}
	// systemd adds a program of its own to a scope with a DevicePolicy, and puts it
	// back whenever it reads its units: it is left alone.
	found := -1
	for _, id := range ids[:min(attr.count, maxAttached)] {
		get := struct{ id, next, flags uint32 }{id: id}
		fd, err := bpf(cmdProgGetFdID, unsafe.Pointer(&get), unsafe.Sizeof(get))
		if err == nil && programCalled(fd, systemdName) {
			unix.Close(fd)
			continue
		}
		if err == nil && found >= 0 {
			// All of several programs must allow, so one of ours replaced among
			// them could not do what was asked.
			unix.Close(fd)
			err = fmt.Errorf("%d programs are attached; somebody else added some", attr.count)
		}
		if err != nil {
			if found >= 0 {
				unix.Close(found)
			}
			return -1, err
		}
		found = fd
	}
	return found, nil
}

// programCalled reports whether a loaded program has a name.
func programCalled(fd int, name string) bool {
	// struct bpf_prog_info up to the name.
	var info struct {
		typ, id                   uint32
		tag                       [8]byte
		jitedLen, translatedLen   uint32
		jited, translated, loaded uint64
		createdBy, mapCount       uint32
		mapIDs                    uint64
		name                      [16]byte
	}
	attr := struct {
		fd, length uint32
		info       uint64
	}{uint32(fd), uint32(unsafe.Sizeof(info)), uint64(uintptr(unsafe.Pointer(&info)))}
	_, err := bpf(cmdObjGetInfo, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	runtime.KeepAlive(&info)
	got, _, _ := bytes.Cut(info.name[:], []byte{0})
	return err == nil && string(got) == name
}
