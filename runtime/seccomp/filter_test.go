package seccomp

import (
	"reflect"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func TestFilterSurvivesItsEncoding(t *testing.T) {
	p := &specs.LinuxSeccomp{
		DefaultAction: specs.ActErrno, Architectures: []specs.Arch{specs.ArchX86_64},
		Flags:    []specs.LinuxSeccompFlag{specs.LinuxSeccompFlagLog},
		Syscalls: []specs.LinuxSyscall{{Names: []string{"read", "write", "exit_group"}, Action: specs.ActAllow}},
	}
	f, err := NewFilter(p, "amd64")
	if err != nil {
		t.Fatal(err)
	}
	if f.Flags == 0 || len(f.Program) < 3 {
		t.Fatalf("flags %#x and %d instructions", f.Flags, len(f.Program))
	}
	got, err := DecodeFilter(f.Encode())
	if err != nil || !reflect.DeepEqual(got, f) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestWhatIsNoFilter(t *testing.T) {
	notify := &specs.LinuxSeccomp{
		DefaultAction: specs.ActAllow, ListenerPath: "/run/x",
		Syscalls: []specs.LinuxSyscall{{Names: []string{"mkdir"}, Action: specs.ActNotify}},
	}
	for name, p := range map[string]*specs.LinuxSeccomp{"none": nil, "listener": notify} {
		if f, err := NewFilter(p, "amd64"); err == nil {
			t.Errorf("%s: %+v", name, f)
		}
	}
	for name, b := range map[string][]byte{
		"nothing": nil, "flags only": make([]byte, 4), "half an instruction": make([]byte, 8),
		"too many": make([]byte, 4+8*(MaxInstructions+1)), "a listener": {8, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0xff, 0x7f},
	} {
		if f, err := DecodeFilter(b); err == nil {
			t.Errorf("%s: %+v", name, f)
		}
	}
}
