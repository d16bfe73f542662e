package seccomp

import (
	"slices"
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
)

//go:generate go run gen.go

// x32Bit marks the calls of the x32 ABI, which share AUDIT_ARCH_X86_64.
const x32Bit = 0x40000000

// noCall is the number that a tracer sets to skip a call.
const noCall = 0xffffffff

// abi is one set of system call numbers.
type abi struct {
	arch    specs.Arch
	audit   uint32
	numbers *[syscallCount]int32
	bit     uint32 // added to each number
	end     uint32 // calls of the future have numbers up to here
	narrow  bool   // arguments have 32 bits
	muxed   bool   // has socketcall and ipc
}

// privateCalls is where arm's private calls begin (__ARM_NR_BASE): their numbers
// say nothing about age.
const privateCalls = 0xf0000

// machine is a kernel with the ABIs that it can run; the first is its own.
type machine []abi

var machines = map[string]machine{
	"amd64": {
		{arch: specs.ArchX86_64, audit: unix.AUDIT_ARCH_X86_64, numbers: &numbersAMD64, end: x32Bit},
		{arch: specs.ArchX32, audit: unix.AUDIT_ARCH_X86_64, numbers: &numbersX32, bit: x32Bit, end: noCall},
		{arch: specs.ArchX86, audit: unix.AUDIT_ARCH_I386, numbers: &numbers386, end: noCall, narrow: true, muxed: true},
	},
	"arm64": {
		{arch: specs.ArchAARCH64, audit: unix.AUDIT_ARCH_AARCH64, numbers: &numbersARM64, end: noCall},
		{arch: specs.ArchARM, audit: unix.AUDIT_ARCH_ARM, numbers: &numbersARM, end: privateCalls, narrow: true},
	},
}

// knownArchitectures are those of the OCI spec. Listing one that this machine
// cannot run changes nothing.
var knownArchitectures = [...]specs.Arch{
	specs.ArchX86, specs.ArchX86_64, specs.ArchX32, specs.ArchARM, specs.ArchAARCH64, specs.ArchMIPS, specs.ArchMIPS64,
	specs.ArchMIPS64N32, specs.ArchMIPSEL, specs.ArchMIPSEL64, specs.ArchMIPSEL64N32, specs.ArchPPC, specs.ArchPPC64,
	specs.ArchPPC64LE, specs.ArchS390, specs.ArchS390X, specs.ArchPARISC, specs.ArchPARISC64, specs.ArchRISCV64,
	specs.ArchLOONGARCH64, specs.ArchM68K, specs.ArchSH, specs.ArchSHEB,
}

// listed returns the ABIs of m that a profile covers: its own and those listed.
func (m machine) listed(archs []specs.Arch) ([]*abi, error) {
	for _, a := range archs {
		if !slices.Contains(knownArchitectures[:], a) {
			return nil, fault.New(fault.Invalid, "seccomp: unknown architecture %s", strconv.Quote(string(a)))
		}
	}
	var list []*abi
	for i := range m {
		if i == 0 || slices.Contains(archs, m[i].arch) {
			list = append(list, &m[i])
		}
	}
	return list, nil
}

// row finds a name in the tables by binary search.
func row(name string) int16 {
	lo, hi := 0, syscallCount
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		switch at := syscallNames[syscallStart[mid]:syscallStart[mid+1]]; {
		case at == name:
			return int16(mid)
		case at < name:
			lo = mid + 1
		default:
			hi = mid
		}
	}
	return missing
}

// number returns a call's number; false when the ABI has no such call.
func (a *abi) number(row int16) (uint32, bool) {
	if row == missing || a.numbers[row] == missing {
		return 0, false
	}
	return uint32(a.numbers[row]) | a.bit, true
}

// Name is the name of a system call of the given architecture ("amd64", as
// runtime.GOARCH says), or its number if that is not in the table.
func Name(arch string, number int) string {
	if m, ok := machines[arch]; ok {
		for row := range syscallCount {
			if n, ok := m[0].number(int16(row)); ok && int(n) == number {
				return syscallNames[syscallStart[row]:syscallStart[row+1]]
			}
		}
	}
	return "system call " + strconv.Itoa(number)
}
