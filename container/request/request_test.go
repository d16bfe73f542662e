package request

import (
	"errors"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"

	"github.com/sampan-containers/sampan/fault"
)

func TestPrivilegedCgroupns(t *testing.T) {
	for _, tt := range []struct {
		v2, privileged bool
		asked, want    container.CgroupnsMode
	}{
		{privileged: true, want: "host"},
		{want: "private"},
		{privileged: true, asked: "private", want: "private"},
		{v2: true, privileged: true, want: "private"},
	} {
		d := Defaults{CgroupV2: tt.v2, CgroupnsMode: "private"}
		d.Complete()
		hc := container.HostConfig{Privileged: tt.privileged, CgroupnsMode: tt.asked}
		d.Normalize(&hc)
		if hc.CgroupnsMode != tt.want {
			t.Errorf("%+v: got %s", tt, hc.CgroupnsMode)
		}
	}
}

func TestAnnotationsHaveKeys(t *testing.T) {
	d := Defaults{}
	d.Complete()
	err := d.Check(&container.Config{Image: "x"}, &container.HostConfig{Annotations: map[string]string{"": "a"}})
	if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "annotation key") {
		t.Errorf("an annotation without a key: %v, want a refusal", err)
	}
}

func TestNames(t *testing.T) {
	for name, ok := range map[string]bool{
		"web": true, "/web": true, "a1": true, "A.b_c-d": true, strings.Repeat("a", 250): true,
		"": false, "a": false, "-web": false, ".web": false, "we b": false, "web/x": false, "//web": false, "../../x": false,
		"web\x00": false, "web\n": false, "wéb": false, strings.Repeat("a", 300): false,
	} {
		if err := CheckName(name); (err == nil) != ok || err != nil && !errors.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", name, err)
		}
	}
	seen := map[string]bool{}
	for i := range 200 {
		name := InventName(i % 5)
		if err := CheckName(name); err != nil {
			t.Error(err)
		}
		seen[name] = true
	}
	if len(seen) < 150 {
		t.Errorf("only %d different names of 200", len(seen))
	}
	for range 100 {
		if id := NewID(); len(id) != 64 || strings.Trim(id, "0123456789abcdef") != "" {
			t.Errorf("id %q", id)
		}
	}
}

func TestSignals(t *testing.T) {
	for text, want := range map[string]int{"KILL": 9, "SIGKILL": 9, "sigterm": 15, "15": 15, "RTMIN+3": 37, "SIGRTMAX": 64, "RTMAX-1": 63,
		"0": 0, "65": 0, "-1": 0, "SIGFOO": 0, "": 0, "RTMIN+99": 0, "RTMINx": 0} {
		got, err := ParseSignal(text)
		if (err == nil) != (want != 0) || int(got) != want {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
}
