package systemd

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-containers/sampan/runtime/cgroup"
)

func TestNames(t *testing.T) {
	for _, tt := range []struct{ in, slice, unit, path string }{
		{"", "", "sampan-ID.scope", "/system.slice/sampan-ID.scope"},
		{"machine.slice:podman:abc", "machine.slice", "podman-abc.scope", "/machine.slice/podman-abc.scope"},
		{"a-b-c.slice:x:y", "a-b-c.slice", "x-y.scope", "/a.slice/a-b.slice/a-b-c.slice/x-y.scope"},
		{"::y", "", "y.scope", "/system.slice/y.scope"},
		{"-.slice:x:y", "-.slice", "x-y.scope", "/x-y.scope"},
	} {
		n, err := ParseName(tt.in, "ID")
		if err != nil {
			t.Errorf("%q: %v", tt.in, err)
			continue
		}
		if n.Slice != tt.slice || n.Unit != tt.unit || n.Path() != tt.path {
			t.Errorf("%q: %q %q %q", tt.in, n.Slice, n.Unit, n.Path())
		}
	}
	for _, in := range []string{
		"/a/b", "a:b", "a.slice:b:c/d", "nothing:b:c", "a--b.slice:x:y", "-a.slice:x:y", "a.slice:x:y.slice", "...slice:x:y",
		"a.slice:x:" + strings.Repeat("y", 300), "a.slice:x:y z", "a.slice:x:\x00", ".slice:x:y", "a.slice:x:y:z",
	} {
		if n, err := ParseName(in, "ID"); err == nil {
			t.Errorf("%q was taken: %+v", in, n)
		}
	}
}

func TestEncode(t *testing.T) {
	c := call{path: "/o", iface: "a.b", member: "M", signature: "sb"}
	c.body.string("x")
	c.body.bool(true)
	got := c.encode(7)
	// The specification's message format, by hand.
	want := "6c010001" + "0c000000" + "07000000" + "38000000" + // little-endian call, body 12, serial 7, fields 56
		"01" + "016f00" + "02000000" + "2f6f00" + "0000000000" + // path
		"02" + "017300" + "03000000" + "612e6200" + "00000000" + // interface
		"03" + "017300" + "01000000" + "4d00" + "000000000000" + // member
		"08" + "016700" + "02736200" + // signature, to the end of the fields
		"01000000" + "7800" + "0000" + "01000000"
	if hex.EncodeToString(got) != want {
		t.Errorf("\n got %x\nwant %s", got, want)
	}
	m, err := decode(got)
	if err != nil {
		t.Fatal(err)
	}
	if m.kind != typeCall || m.iface != "a.b" || m.member != "M" || m.signature != "sb" {
		t.Errorf("%+v", m)
	}
	if s := m.body.string(); s != "x" {
		t.Errorf("text %q", s)
	}
	if n := m.body.uint32(); n != 1 || m.body.err != nil {
		t.Errorf("bool %d, %v", n, m.body.err)
	}
}

func TestEncodeProperties(t *testing.T) {
	var e encoder
	e.props([]prop{{"A", boolValue(true)}, {"B", u64Value(1)}, {"C", deviceValue{{"n", "r"}}}})
	d := decoder{b: e.b, order: littleEndian()}
	size := d.uint32()
	d.align(8)
	if int(size) != len(e.b)-d.at {
		t.Errorf("the array says %d bytes and has %d", size, len(e.b)-d.at)
	}
	for _, p := range []struct{ name, kind string }{{"A", "b"}, {"B", "t"}, {"C", "a(ss)"}} {
		d.align(8)
		if name, kind := d.string(), d.signature(); name != p.name || kind != p.kind {
			t.Fatalf("%q %q", name, kind)
		}
		switch p.kind {
		case "b":
			if d.uint32() != 1 {
				t.Error("A is not true")
			}
		case "t":
			d.align(8)
			if !bytes.Equal(d.take(8), []byte{1, 0, 0, 0, 0, 0, 0, 0}) {
				t.Error("B is not 1")
			}
		case "a(ss)":
			d.uint32()
			d.align(8)
			if node, access := d.string(), d.string(); node != "n" || access != "r" {
				t.Errorf("C is %q %q", node, access)
			}
		}
	}
	if d.err != nil || d.at != len(e.b) {
		t.Errorf("%v, %d of %d bytes", d.err, d.at, len(e.b))
	}
}

func FuzzDecode(f *testing.F) {
	c := call{destination: "a.b", path: "/o", iface: "a.b", member: "M", signature: "s"}
	c.body.string("x")
	f.Add(c.encode(1))
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := decode(raw)
		if err != nil {
			return
		}
		m.body.uint32()
		_ = m.body.string()
		m.body.signature()
	})
}

func TestResources(t *testing.T) {
	i := func(n int64) *int64 { return &n }
	u := func(n uint64) *uint64 { return &n }
	w := uint16(500)
	res := &specs.LinuxResources{
		CPU:     &specs.LinuxCPU{Shares: u(1024), Quota: i(15_500), Period: u(100_000), Cpus: "0-2,9", Mems: "0"},
		Memory:  &specs.LinuxMemory{Limit: i(64 << 20), Swap: i(96 << 20), Reservation: i(32 << 20)},
		Pids:    &specs.LinuxPids{Limit: i(-1)},
		BlockIO: &specs.LinuxBlockIO{Weight: &w},
		Unified: map[string]string{"memory.high": "max", "cpu.max": "max", "io.max": "8:0 rbps=1"},
	}
	for _, tt := range []struct {
		layout cgroup.Layout
		want   string
	}{
		{cgroup.V2, "CPUWeight=100 CPUQuotaPeriodUSec=100000 CPUQuotaPerSecUSec=160000 AllowedCPUs=[7 2] AllowedMemoryNodes=[1] " +
			"MemoryMax=67108864 MemoryLow=33554432 MemorySwapMax=33554432 TasksMax=18446744073709551615 IOWeight=4950 " +
			"CPUQuotaPeriodUSec=100000 CPUQuotaPerSecUSec=18446744073709551615 MemoryHigh=18446744073709551615"},
		{cgroup.V1, "CPUShares=1024 CPUQuotaPeriodUSec=100000 CPUQuotaPerSecUSec=160000 MemoryLimit=67108864 TasksMax=18446744073709551615 BlockIOWeight=500"},
	} {
		list, err := resources(res, tt.layout)
		if err != nil {
			t.Fatal(err)
		}
		if got := show(list); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.layout, got, tt.want)
		}
	}
	for _, bad := range []*specs.LinuxResources{
		{CPU: &specs.LinuxCPU{Cpus: "3-1"}}, {CPU: &specs.LinuxCPU{Cpus: "0-99999999"}}, {CPU: &specs.LinuxCPU{Mems: "x"}},
		{Unified: map[string]string{"pids.max": "many"}}, {Unified: map[string]string{"cpu.max": "1 0"}},
	} {
		if list, err := resources(bad, cgroup.V2); err == nil {
			t.Errorf("%+v was taken: %s", bad, show(list))
		}
	}
}

func TestDevices(t *testing.T) {
	n := func(v int64) *int64 { return &v }
	list, err := devices([]specs.LinuxDeviceCgroup{
		{Allow: false, Access: "rwm"},
		{Allow: true, Type: "c", Major: n(10), Minor: n(229), Access: "rw"},
		{Allow: true, Type: "b", Major: n(8), Access: "r"},
	})
	if err != nil {
		t.Fatal(err)
	}
	got := show(list)
	for _, want := range []string{"DevicePolicy=strict", "{/dev/char/10:229 rw}", "{block-8 r}", "{char-* m}", "{/dev/char/1:3 rwm}", "{char-136 rwm}"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in %s", want, got)
		}
	}
	list, err = devices([]specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}, {Allow: false, Type: "b", Major: n(8), Minor: n(0)}})
	if err != nil || show(list) != "DevicePolicy=auto DeviceAllow=[]" {
		t.Errorf("%s, %v", show(list), err)
	}
}

func TestAnnotations(t *testing.T) {
	list, err := annotated(map[string]string{
		"other":                                "x",
		"org.systemd.property.TimeoutStopUSec": "uint64 123456789",
		"org.systemd.property.TimeoutStopSec":  "5",
		"org.systemd.property.CollectMode":     "'inactive-or-failed'",
		"org.systemd.property.SendSIGHUP":      "true",
		"org.systemd.property.After":           "['a.service', \"b.service\"]",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := "After=[a.service b.service] CollectMode=inactive-or-failed SendSIGHUP=true TimeoutStopUSec=5000000 TimeoutStopUSec=t123456789"
	if got := show(list); got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	for key, value := range map[string]string{
		"After": "['a'", "X": "words", "Y": "uint64 -1", "Z": "uint8 1", "lower": "true", "TimeoutSec": "'x'", "W": "'a' b", "V": "byte 256",
	} {
		if _, err := annotated(map[string]string{annotationPrefix + key: value}); err == nil {
			t.Errorf("%s=%s was taken", key, value)
		}
	}
}
