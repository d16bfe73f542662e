package wire

import (
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
)

func ptr[T any](v T) *T { return &v }

var at = time.Date(2026, 11, 24, 6, 0, 0, 123456789, time.UTC)

func fullConfig() *Config {
	return &Config{
		ID: "abc", RunDir: "/run/x",
		Overlay:  &Overlay{Lower: []string{"/a", "", "/c"}, Upper: "/u", Work: "/w", ReadOnly: true},
		Log:      LogConfig{Driver: "json-file", Path: "/l", MaxSize: -1, MaxFiles: 3, Attrs: map[string]string{"k": "v", "": ""}, Compress: true},
		ExitPath: "/e", ExitSync: true, Terminal: true, OpenStdin: true, StdinOnce: true, Height: 24, Width: 80,
		Ports: []Port{
			{Proto: "tcp", HostIP: netip.MustParseAddr("::1"), HostPort: 8080, ContainerIP: netip.MustParseAddr("172.17.0.2"), ContainerPort: 80, Splice: true, Socket: true},
			{Proto: "udp", HostPort: 65535},
		},
		Template: true, NetNS: true, Kept: []string{"dns-udp", "dns-tcp"}, Namespaces: []string{"ipc", "pid"},
		Attach: []Attach{{Stdin: true, Mux: true, Initial: []byte("x"), DetachKeys: []byte{16, 17}}, {Stdout: true, Stderr: true}},
	}
}

func fullExec() *Exec {
	return &Exec{
		ID: "e", OpenStdin: true, Height: 1, Width: 2, Attach: &Attach{Stdout: true},
		Process: &specs.Process{
			Terminal: true, Args: []string{"sh", ""}, Env: []string{"A=b"}, Cwd: "/",
			User:            specs.User{UID: 1, GID: 4294967295, Umask: ptr(uint32(0)), AdditionalGids: []uint32{0, 7}, Username: "u"},
			Capabilities:    &specs.LinuxCapabilities{Bounding: []string{"CAP_CHOWN"}, Effective: []string{"a"}, Inheritable: []string{"b"}, Permitted: []string{"c"}, Ambient: []string{"d"}},
			Rlimits:         []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Hard: 1 << 63, Soft: 0}},
			NoNewPrivileges: true, ApparmorProfile: "p", OOMScoreAdj: ptr(-7), SelinuxLabel: "s",
		},
	}
}

// round encodes a message as a frame and decodes it again.
func round[T any](t *testing.T, in Payload, decode func([]byte) (*T, error)) *T {
	t.Helper()
	frame := Append([]byte("before"), TypeCreate, 7, 3, in)[len("before"):]
	h, err := ParseHeader(frame, MaxRequest)
	if err != nil || h.Type != TypeCreate || h.Request != 7 || h.Files != 3 || int(h.Length) != len(frame)-HeaderSize {
		t.Fatalf("header = %+v, %v", h, err)
	}
	out, err := decode(frame[HeaderSize:])
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestRoundTrip(t *testing.T) {
	check := func(name string, got, want any) {
		t.Run(name, func(t *testing.T) {
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v\nwant %+v", got, want)
			}
		})
	}
	cfg, exec := fullConfig(), fullExec()
	check("config", round(t, cfg, DecodeConfig), cfg)
	check("empty config", round(t, &Config{}, DecodeConfig), &Config{})
	check("exec", round(t, exec, DecodeExec), exec)
	hello := &Hello{Version: 3, Min: 1, ID: "x", Pid: 9, StartedAt: at, ShimPid: 8}
	check("hello", round(t, hello, DecodeHello), hello)
	exit := &ExitRecord{Code: 137, Signal: 9, OOM: true, At: at, Error: "e"}
	check("exit", round(t, exit, DecodeExitRecord), exit)
	started := &Started{Pid: 1, At: at}
	check("started", round(t, started, DecodeStarted), started)
	check("signal", round(t, &Signal{"e", 15}, DecodeSignal), &Signal{"e", 15})
	check("resize", round(t, &Resize{"e", 1, 2}, DecodeResize), &Resize{"e", 1, 2})
	check("status", round(t, &ExecStatus{"e", true, 2, 3}, DecodeExecStatus), &ExecStatus{"e", true, 2, 3})
	check("error", round(t, &Error{CodeNotFound, "why"}, DecodeError), &Error{CodeNotFound, "why"})
	check("namespace", round(t, &Namespace{"pid"}, DecodeNamespace), &Namespace{"pid"})
	check("warning", round(t, &Warning{"w"}, DecodeWarning), &Warning{"w"})
}

// No field of a process may be lost without a word.
func TestProcessFieldsAreCarriedOrRefused(t *testing.T) {
	known := map[string]bool{}
	full := reflect.ValueOf(*fullExec().Process)
	for i := range full.NumField() {
		if !full.Field(i).IsZero() {
			known[full.Type().Field(i).Name] = true
		}
	}
	refused := map[string]*specs.Process{
		"Scheduler":       {Scheduler: &specs.Scheduler{}},
		"IOPriority":      {IOPriority: &specs.LinuxIOPriority{}},
		"ExecCPUAffinity": {ExecCPUAffinity: &specs.CPUAffinity{}},
		"CommandLine":     {CommandLine: "x"},
	}
	for i := range full.NumField() {
		name := full.Type().Field(i).Name
		switch p := refused[name]; {
		case name == "ConsoleSize": // travels as Exec.Height and Exec.Width
		case p != nil && CheckProcess(p) == nil:
			t.Errorf("%s is neither carried nor refused", name)
		case p == nil && !known[name]:
			t.Errorf("%s is not carried", name)
		}
	}
	if err := CheckProcess(fullExec().Process); err != nil {
		t.Error(err)
	}
}

func TestUnknownFieldsArePassedOver(t *testing.T) {
	var e Encoder
	e.Text(200, "of a newer version")
	e.Text(1, "id")
	e.Uint(201, 1<<40)
	c, err := DecodeConfig(e.Bytes())
	if err != nil || c.ID != "id" {
		t.Errorf("got %+v, %v", c, err)
	}
}

func TestVersions(t *testing.T) {
	for _, tc := range []struct {
		name             string
		theirs, theirMin uint32
		ours, ourMin     uint32
		want             uint32
		ok               bool
	}{
		{"same", 1, 1, 1, 1, 1, true},
		{"a newer daemon and an older shim", 1, 1, 5, 1, 1, true},
		{"an older daemon and a newer shim", 5, 2, 3, 1, 3, true},
		{"too old for us", 1, 1, 5, 2, 1, false},
		{"too new for us", 5, 4, 3, 1, 3, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := Hello{Version: tc.theirs, Min: tc.theirMin}
			if v, ok := h.Speaks(tc.ours, tc.ourMin); v != tc.want || ok != tc.ok {
				t.Errorf("got %d, %v", v, ok)
			}
		})
	}
}

func TestMalformed(t *testing.T) {
	var nested Encoder
	nested.Message(3, func(e *Encoder) { e.buf = append(e.buf, 1, 200, 1) })
	for name, in := range map[string][]byte{
		"no length":               {1},
		"length beyond the end":   {1, 5, 'a'},
		"length of 2^63":          {1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
		"number of eleven bytes":  append([]byte{10, 11}, strings.Repeat("\xff", 11)...),
		"height beyond 32 bits":   {10, 5, 0xff, 0xff, 0xff, 0xff, 0x7f},
		"inside a nested message": nested.Bytes(),
		"address of three bytes":  {12, 5, 2, 3, 1, 2, 3},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := DecodeConfig(in); !errors.Is(err, ErrMalformed) {
				t.Errorf("error = %v", err)
			}
		})
	}
	big := Append(nil, TypeExec, 1, 0, &Target{Exec: strings.Repeat("x", 100)})
	if _, err := ParseHeader(big, 50); err == nil {
		t.Error("a frame above the limit was accepted")
	}
}

func TestLongTextsAreCut(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	if n := len(Append(nil, TypeError, 1, 0, &Error{Text: long})); n > MaxResponse {
		t.Errorf("an error frame has %d bytes", n)
	}
	if n := len(Append(nil, TypeExit, 0, 0, &ExitRecord{Error: long})); n > MaxResponse {
		t.Errorf("an exit frame has %d bytes", n)
	}
}

func FuzzDecode(f *testing.F) {
	for _, p := range []Payload{fullConfig(), fullExec(), &Hello{Version: 1, StartedAt: at}, &ExitRecord{Code: 1, At: at}, &Error{1, "x"}} {
		f.Add(Append(nil, TypeHello, 1, 0, p)[HeaderSize:])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := DecodeConfig(b); err == nil {
			again, err := DecodeConfig(Append(nil, TypeCreate, 1, 0, c)[HeaderSize:])
			if err != nil || !reflect.DeepEqual(c, again) {
				t.Errorf("%+v became %+v, %v", c, again, err)
			}
		}
		DecodeExec(b)
		DecodeHello(b)
		DecodeExitRecord(b)
		DecodeError(b)
		DecodeStarted(b)
		DecodeSignal(b)
		DecodeResize(b)
		DecodeExecStatus(b)
	})
}
