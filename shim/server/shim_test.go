package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/logs"
	"github.com/sampan-containers/sampan/runtime"
	"github.com/sampan-containers/sampan/shim/handle"
	"github.com/sampan-containers/sampan/shim/wire"
)

// within bounds every wait of these tests; nothing depends on its length.
const within = 30 * time.Second

// rig is one container of a test.
type rig struct {
	t     *testing.T
	dir   string
	start handle.Start
	spec  *specs.Spec
	shim  *handle.Shim
}

func newSpawner(t *testing.T) *handle.Spawner {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s, err := handle.NewSpawner(self)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func plain(t *testing.T, args ...string) *rig {
	t.Helper()
	dir := t.TempDir()
	r := &rig{t: t, dir: dir, spec: &specs.Spec{
		Version: specs.Version,
		Process: &specs.Process{Args: args, Env: os.Environ(), Cwd: "/"},
		Root:    &specs.Root{Path: "rootfs"},
		Linux:   &specs.Linux{Namespaces: []specs.LinuxNamespace{{Type: specs.PIDNamespace}}},
	}}
	run := filepath.Join(dir, "run")
	if err := os.Mkdir(run, 0o700); err != nil {
		t.Fatal(err)
	}
	r.start.Config = wire.Config{
		ID: "plain-" + filepath.Base(filepath.Dir(dir)), RunDir: run,
		Log:      wire.LogConfig{Driver: "json-file", Path: filepath.Join(dir, "json.log")},
		ExitPath: filepath.Join(dir, "exit.json"),
	}
	return r
}

func ctx(t *testing.T) context.Context {
	c, cancel := context.WithTimeout(context.Background(), within)
	t.Cleanup(cancel)
	return c
}

func (r *rig) begin(s *handle.Spawner) error {
	r.t.Helper()
	raw, err := json.Marshal(r.spec)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(r.start.Config.RunDir, "config.json"), raw, 0o600); err != nil {
		r.t.Fatal(err)
	}
	r.shim, err = s.Start(ctx(r.t), &r.start)
	if err != nil {
		return err
	}
	r.t.Cleanup(func() {
		c, cancel := context.WithTimeout(context.Background(), within)
		defer cancel()
		r.shim.Signal(c, unix.SIGKILL)
		select {
		case <-r.shim.Done():
		case <-c.Done():
			r.t.Errorf("the shim of %s did not end", r.shim.ID())
			unix.Kill(r.shim.ShimPid(), unix.SIGKILL)
		}
	})
	return nil
}

func (r *rig) mustBegin(s *handle.Spawner) {
	r.t.Helper()
	if err := r.begin(s); err != nil {
		r.t.Fatal(err)
	}
}

// attach adds a client to the start, and returns its other end.
func (r *rig) attach(a handle.Attach) *net.UnixConn {
	mine, theirs := socketPair(r.t)
	a.Conn = theirs
	r.start.Attach = append(r.start.Attach, a)
	return mine
}

func socketPair(t *testing.T) (*net.UnixConn, *os.File) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(pair[0]), "client")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(within))
	return c.(*net.UnixConn), os.NewFile(uintptr(pair[1]), "server")
}

func (r *rig) wait() wire.ExitRecord {
	r.t.Helper()
	select {
	case <-r.shim.Done():
	case <-time.After(within):
		r.t.Fatalf("container %s did not end", r.shim.ID())
	}
	rec, err := r.shim.Exit()
	if err != nil {
		r.t.Fatal(err)
	}
	return rec
}

func (r *rig) logged() (stdout, stderr string) {
	r.t.Helper()
	l, err := logs.Open(r.start.Config.Log.Path, logs.JSON)
	if err != nil {
		r.t.Fatal(err)
	}
	var out, errOut bytes.Buffer
	err = l.Read(ctx(r.t), logs.ReadConfig{Tail: -1}, func(e logs.Entry) error {
		if e.Stream == "stderr" {
			errOut.Write(e.Line)
		} else {
			out.Write(e.Line)
		}
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return out.String(), errOut.String()
}

// demux splits Docker's framed stream.
func demux(t *testing.T, raw []byte) (out, errOut string) {
	t.Helper()
	var b [3]bytes.Buffer
	for len(raw) > 0 {
		if len(raw) < 8 || raw[0] > 2 || raw[1]|raw[2]|raw[3] != 0 {
			t.Fatalf("bad frame header % x", raw[:min(8, len(raw))])
		}
		n := int(raw[4])<<24 | int(raw[5])<<16 | int(raw[6])<<8 | int(raw[7])
		if n > len(raw)-8 {
			t.Fatalf("frame of %d bytes, %d left", n, len(raw)-8)
		}
		b[raw[0]].Write(raw[8 : 8+n])
		raw = raw[8+n:]
	}
	return b[1].String(), b[2].String()
}

func readAll(t *testing.T, c net.Conn) []byte {
	t.Helper()
	raw, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestRunLogsAndRecords(t *testing.T) {
	s := newSpawner(t)
	for _, tc := range []struct {
		name, script string
		code, signal int
		out, err     string
	}{
		{"both streams and a code", "echo out; echo err >&2; exit 3", 3, 0, "out\n", "err\n"},
		{"no newline at the end", "printf tail", 0, 0, "tail", ""},
		{"killed by a signal", "echo before; kill -9 $$", 137, 9, "before\n", ""},
		{"terminated", "kill -TERM $$", 143, 15, "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := plain(t, "sh", "-c", tc.script)
			r.start.Config.ExitSync = true
			r.mustBegin(s)
			rec := r.wait()
			if rec.Code != tc.code || rec.Signal != tc.signal || rec.OOM || rec.Error != "" {
				t.Errorf("exit = %+v, want code %d signal %d", rec, tc.code, tc.signal)
			}
			if out, errOut := r.logged(); out != tc.out || errOut != tc.err {
				t.Errorf("log = %q, %q, want %q, %q", out, errOut, tc.out, tc.err)
			}
			stored, err := handle.ReadExit(r.start.Config.ExitPath)
			if err != nil || !stored.At.Equal(rec.At) || stored.Code != rec.Code {
				t.Errorf("stored record = %+v, %v; sent %+v", stored, err, rec)
			}
			if _, err := os.Stat(filepath.Join(r.start.Config.RunDir, "shim.sock")); !os.IsNotExist(err) {
				t.Errorf("the socket is still there: %v", err)
			}
		})
	}
}

func TestStartFails(t *testing.T) {
	s := newSpawner(t)
	r := plain(t, "/no/such/command")
	client := r.attach(handle.Attach{Stdout: true})
	err := r.begin(s)
	if !errors.Is(err, runtime.ErrNotFound) {
		t.Fatalf("error = %v, want ErrNotFound", err)
	}
	if got := readAll(t, client); len(got) != 0 {
		t.Errorf("the client got %q", got)
	}
	if _, err := handle.Connect(ctx(t), r.start.Config.RunDir); !errors.Is(err, fault.NotFound) {
		t.Errorf("Connect after a failed start = %v", err)
	}
}

func TestAttach(t *testing.T) {
	s := newSpawner(t)
	t.Run("multiplexed", func(t *testing.T) {
		r := plain(t, "sh", "-c", "echo out; echo err >&2")
		c := r.attach(handle.Attach{Stdout: true, Stderr: true, Mux: true})
		r.mustBegin(s)
		if out, errOut := demux(t, readAll(t, c)); out != "out\n" || errOut != "err\n" {
			t.Errorf("got %q, %q", out, errOut)
		}
	})
	t.Run("one stream, raw", func(t *testing.T) {
		r := plain(t, "sh", "-c", "echo out; echo err >&2")
		c := r.attach(handle.Attach{Stderr: true})
		r.mustBegin(s)
		if got := readAll(t, c); string(got) != "err\n" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("stdin ends with the client's", func(t *testing.T) {
		r := plain(t, "sh", "-c", "cat; echo done")
		r.start.Config.OpenStdin, r.start.Config.StdinOnce = true, true
		c := r.attach(handle.Attach{Stdin: true, Stdout: true, Initial: []byte("first ")})
		r.mustBegin(s)
		fmt.Fprint(c, "second\n")
		c.CloseWrite()
		if got := readAll(t, c); string(got) != "first second\ndone\n" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("stdin outlives a client", func(t *testing.T) {
		r := plain(t, "cat")
		r.start.Config.OpenStdin = true
		c := r.attach(handle.Attach{Stdin: true, Stdout: true})
		r.mustBegin(s)
		fmt.Fprintln(c, "one")
		if got := make([]byte, 4); !readFull(t, c, got) || string(got) != "one\n" {
			t.Fatalf("got %q", got)
		}
		c.CloseWrite()
		readAll(t, c) // let go, as Docker does
		mine, theirs := socketPair(t)
		if err := r.shim.Attach(ctx(t), handle.Attach{Conn: theirs, Stdin: true, Stdout: true}); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(mine, "two")
		if got := make([]byte, 4); !readFull(t, mine, got) || string(got) != "two\n" {
			t.Fatalf("got %q", got)
		}
		if err := r.shim.CloseStdin(ctx(t)); err != nil {
			t.Fatal(err)
		}
		if rec := r.wait(); rec.Code != 0 {
			t.Errorf("exit = %+v", rec)
		}
	})
}

func readFull(t *testing.T, c net.Conn, b []byte) bool {
	t.Helper()
	if _, err := io.ReadFull(c, b); err != nil {
		t.Fatal(err)
	}
	return true
}

func TestTerminal(t *testing.T) {
	s := newSpawner(t)
	r := plain(t, "sh", "-c", "stty size; read a; stty size; echo got $a; read b; exit 7")
	r.start.Config.Terminal, r.start.Config.OpenStdin = true, true
	r.start.Config.Height, r.start.Config.Width = 30, 100
	c := r.attach(handle.Attach{Stdin: true, Stdout: true, DetachKeys: []byte{16, 17}})
	r.mustBegin(s)
	readUntil(t, c, "30 100\r\n")
	if err := r.shim.Resize(ctx(t), 40, 120); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(c, "hello\r")
	readUntil(t, c, "40 120\r\ngot hello\r\n")
	c.Write([]byte{16, 17})
	readAll(t, c)
	mine, theirs := socketPair(t)
	if err := r.shim.Attach(ctx(t), handle.Attach{Conn: theirs, Stdin: true, Stdout: true}); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(mine, "bye\r")
	readAll(t, mine)
	if rec := r.wait(); rec.Code != 7 {
		t.Errorf("exit = %+v", rec)
	}
}

func readUntil(t *testing.T, c net.Conn, want string) {
	t.Helper()
	var got []byte
	buf := make([]byte, 4096)
	for !strings.Contains(string(got), want) {
		n, err := c.Read(buf)
		got = append(got, buf[:n]...)
		if err != nil {
			t.Fatalf("read %q, waiting for %q: %v", got, want, err)
		}
	}
}

func TestReconnect(t *testing.T) {
	s := newSpawner(t)
	r := plain(t, "sh", "-c", "read a; echo $a; exit 5")
	r.start.Config.OpenStdin, r.start.Config.StdinOnce = true, true
	c := r.attach(handle.Attach{Stdin: true, Stdout: true})
	r.mustBegin(s)
	pid := r.shim.Pid()
	r.shim.Close() // as a killed daemon would
	<-r.shim.Done()
	again, err := handle.Connect(ctx(t), r.start.Config.RunDir)
	if err != nil {
		t.Fatal(err)
	}
	if again.Pid() != pid || again.ID() != r.start.Config.ID || again.StartedAt().IsZero() {
		t.Errorf("found %s pid %d started %v", again.ID(), again.Pid(), again.StartedAt())
	}
	r.shim = again
	fmt.Fprintln(c, "through")
	if got := readAll(t, c); string(got) != "through\n" {
		t.Errorf("the attached client got %q", got)
	}
	if rec := r.wait(); rec.Code != 5 {
		t.Errorf("exit = %+v", rec)
	}
}

func TestExec(t *testing.T) {
	s := newSpawner(t)
	r := plain(t, "sleep", "1000")
	r.mustBegin(s)
	mine, theirs := socketPair(t)
	p := &specs.Process{Args: []string{"sh", "-c", "read a; echo $a; echo err >&2; exit 4"}, Env: os.Environ()}
	pid, err := r.shim.Exec(ctx(t), handle.ExecRequest{ID: "x1", Process: p, OpenStdin: true,
		Attach: &handle.Attach{Conn: theirs, Stdin: true, Stdout: true, Stderr: true, Mux: true}})
	if err != nil || pid == 0 {
		t.Fatalf("exec = %d, %v", pid, err)
	}
	if st, err := r.shim.ExecState(ctx(t), "x1"); err != nil || !st.Running || st.Pid != pid {
		t.Errorf("state = %+v, %v", st, err)
	}
	fmt.Fprintln(mine, "hi")
	if out, errOut := demux(t, readAll(t, mine)); out != "hi\n" || errOut != "err\n" {
		t.Errorf("got %q, %q", out, errOut)
	}
	// The connection is closed, so the state must be final already.
	if st, err := r.shim.ExecState(ctx(t), "x1"); err != nil || st.Running || st.ExitCode != 4 {
		t.Errorf("state = %+v, %v", st, err)
	}
	if _, err := r.shim.ExecState(ctx(t), "never"); !errors.Is(err, handle.ErrNoSuchExec) {
		t.Errorf("unknown exec: %v", err)
	}
	if _, err := r.shim.Exec(ctx(t), handle.ExecRequest{ID: "x2", Process: &specs.Process{Args: []string{"/nope"}}}); !errors.Is(err, runtime.ErrNotFound) {
		t.Errorf("missing command: %v", err)
	}
	f, err := r.shim.Namespace(ctx(t), "network")
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if _, err := r.shim.Exec(ctx(t), handle.ExecRequest{ID: "x3", Process: &specs.Process{Args: []string{"sleep", "1000"}, Env: os.Environ()}}); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		st, err := r.shim.ExecWait(context.Background(), "x3")
		if err == nil && st.ExitCode != 137 {
			err = fmt.Errorf("state %+v", st)
		}
		done <- err
	}()
	if err := r.shim.ExecSignal(ctx(t), "x3", unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// The record is written on a full disk too, and that of an earlier run never
// stands for this one.
func TestExitRecordOnFullDisk(t *testing.T) {
	s := newSpawner(t)
	disk := t.TempDir()
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("mounting a small tmpfs: %v (needs root)", err)
	}
	t.Cleanup(func() { unix.Unmount(disk, unix.MNT_DETACH) })
	r := plain(t, "sh", "-c", "read a; exit 9")
	r.start.Config.OpenStdin, r.start.Config.ExitSync = true, true
	r.start.Config.Log.Path, r.start.Config.ExitPath = filepath.Join(disk, "json.log"), filepath.Join(disk, "exit.json")
	if err := os.WriteFile(r.start.Config.ExitPath, []byte(`{"code":1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	r.mustBegin(s)
	if _, err := handle.ReadExit(r.start.Config.ExitPath); !errors.Is(err, fault.NotFound) {
		t.Errorf("while it runs, the record of an earlier run is there: %v", err)
	}
	if err := os.WriteFile(filepath.Join(disk, "filler"), make([]byte, 1<<20), 0o600); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("filling the disk: %v", err)
	}
	if err := r.shim.CloseStdin(ctx(t)); err != nil {
		t.Fatal(err)
	}
	r.wait()
	if rec, err := handle.ReadExit(r.start.Config.ExitPath); err != nil || rec.Code != 9 {
		t.Errorf("record = %+v, %v", rec, err)
	}
}

// A start that nobody waits for any more leaves nothing, even if the shim hangs.
func TestStartGivenUp(t *testing.T) {
	s := newSpawner(t)
	r := plain(t, "sleep", "1000")
	r.start.Config.ID = "hang"
	c, cancel := contextIn(100 * time.Millisecond)
	defer cancel()
	raw, err := json.Marshal(r.spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(r.start.Config.RunDir, "config.json"), raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Start(c, &r.start); !errors.Is(err, fault.Deadline) {
		t.Fatalf("error = %v", err)
	}
	// It is our child: waiting for any child ends when it has been killed.
	for deadline := time.Now().Add(within); ; time.Sleep(50 * time.Millisecond) {
		left, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", os.Getpid()))
		if err != nil {
			t.Fatal(err)
		}
		alive := false
		for _, f := range left {
			pids, _ := os.ReadFile(f)
			for _, pid := range strings.Fields(string(pids)) {
				cmdline, _ := os.ReadFile("/proc/" + pid + "/cmdline")
				alive = alive || strings.Contains(string(cmdline), "\x00hang\x00")
			}
		}
		if !alive {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the hanging shim is still there")
		}
	}
}

// A container is not started for a daemon that has gone: its successor has looked
// for the shim's socket already, perhaps before it was there, and would never find
// what runs.
func TestStartWhoseDaemonHasGone(t *testing.T) {
	r := plain(t, "touch", filepath.Join(t.TempDir(), "started"))
	raw, err := json.Marshal(r.spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(r.start.Config.RunDir, "config.json"), raw, 0o600); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		stays bool
	}{{"gone", false}, {"there", true}} {
		t.Run(c.name, func(t *testing.T) {
			daemon, control := socketPair(t)
			order := wire.Append(nil, wire.TypeHello, 0, 0, &wire.Hello{Version: wire.Version, Min: wire.Min})
			if _, err := daemon.Write(wire.Append(order, wire.TypeCreate, 1, 0, &r.start.Config)); err != nil {
				t.Fatal(err)
			}
			if !c.stays {
				daemon.Close()
			}
			shim := exec.Command(self, "shim", r.start.Config.ID)
			shim.ExtraFiles = []*os.File{control}
			err := shim.Run()
			control.Close()
			_, started := os.Stat(r.spec.Process.Args[1])
			if c.stays != (err == nil) || c.stays != (started == nil) {
				t.Errorf("the shim ends with %v, the command's file: %v", err, started)
			}
			if _, err := os.Stat(filepath.Join(r.start.Config.RunDir, socketName)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the socket is left: %v", err)
			}
			if _, err := os.Stat(r.start.Config.ExitPath); c.stays != (err == nil) {
				t.Errorf("exit record: %v", err)
			}
		})
	}
}
