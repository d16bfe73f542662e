package handle

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	launch "github.com/sampan-containers/sampan/runtime"
	"github.com/sampan-containers/sampan/shim/wire"
)

const within = 20 * time.Second

func ctx(t *testing.T) context.Context {
	c, cancel := context.WithTimeout(context.Background(), within)
	t.Cleanup(cancel)
	return c
}

// peer plays the shim on the first connection to a run directory's socket.
func peer(t *testing.T, serve func(*net.UnixConn)) (runDir string) {
	t.Helper()
	// Longer than a socket's path may be.
	runDir = filepath.Join(t.TempDir(), strings.Repeat("x", 100))
	if err := os.Mkdir(runDir, 0o700); err != nil {
		t.Fatal(err)
	}
	dir, err := os.Open(runDir)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join("/proc/self/fd", itoa(dir.Fd()), SocketName), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		for {
			c, err := l.AcceptUnix()
			if err != nil {
				return
			}
			c.SetDeadline(time.Now().Add(within))
			serve(c)
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return runDir
}

func itoa(fd uintptr) string {
	var b []byte
	for ; fd > 0 || len(b) == 0; fd /= 10 {
		b = append([]byte{byte('0' + fd%10)}, b...)
	}
	return string(b)
}

func sayHello(t *testing.T, c *net.UnixConn, h wire.Hello) {
	f, err := readFrame(c)
	if err != nil || f.Type != wire.TypeHello {
		t.Errorf("the daemon's first frame: %+v, %v", f.Header, err)
		return
	}
	c.Write(wire.Append(nil, wire.TypeHello, 0, 0, &h))
}

var good = wire.Hello{Version: wire.Version, Min: wire.Min, ID: "abc", Pid: 42, ShimPid: 41, StartedAt: time.Unix(1, 0).UTC()}

func TestConnectRefuses(t *testing.T) {
	old, future := good, good
	old.Version, old.Min = 0, 0
	future.Version, future.Min = 99, 99
	for _, tc := range []struct {
		name  string
		serve func(*net.UnixConn)
		want  error
		text  string
	}{
		{"ends at once", func(*net.UnixConn) {}, fault.NotFound, "just ended"},
		{"garbage", func(c *net.UnixConn) { c.Write([]byte(strings.Repeat("garbage", 10))) }, fault.NotFound, "malformed"},
		{"another frame first", func(c *net.UnixConn) { c.Write(wire.Append(nil, wire.TypeOK, 0, 0, nil)) }, nil, "not a hello"},
		{"too old", func(c *net.UnixConn) { sayHello(t, c, old) }, fault.Unavailable, "protocol 0 to 0"},
		{"too new", func(c *net.UnixConn) { sayHello(t, c, future) }, fault.Unavailable, "protocol 99 to 99"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Connect(ctx(t), peer(t, tc.serve))
			if err == nil || !strings.Contains(err.Error(), tc.text) || tc.want != nil && !errors.Is(err, tc.want) {
				t.Errorf("error = %v", err)
			}
		})
	}
	t.Run("no directory", func(t *testing.T) {
		if _, err := Connect(ctx(t), filepath.Join(t.TempDir(), "gone")); !errors.Is(err, fault.NotFound) {
			t.Errorf("error = %v", err)
		}
	})
	t.Run("no socket", func(t *testing.T) {
		if _, err := Connect(ctx(t), t.TempDir()); !errors.Is(err, fault.NotFound) {
			t.Errorf("error = %v", err)
		}
	})
}

// answer serves requests with f until the connection ends.
func answer(t *testing.T, f func(c *net.UnixConn, r frame) bool) func(*net.UnixConn) {
	return func(c *net.UnixConn) {
		sayHello(t, c, good)
		for {
			r, err := readFrame(c)
			if err != nil || !f(c, r) {
				return
			}
			r.close()
		}
	}
}

func TestAnswers(t *testing.T) {
	kinds := []wire.Error{
		{Code: wire.CodeNotFound, Text: "exec: \"x\": executable file not found in $PATH"},
		{Code: wire.CodeNotExecutable, Text: "permission denied"},
		{Code: wire.CodeNoSuchExec}, {Code: wire.CodeNotRunning}, {Code: wire.CodeInvalid, Text: "bad"},
		{Code: wire.CodeExhausted, Text: "full"}, {Code: 77, Text: "of a newer version"},
	}
	want := []error{launch.ErrNotFound, launch.ErrNotExecutable, ErrNoSuchExec, ErrEnded, fault.Invalid, fault.Exhausted, nil}
	next := 0
	s, err := Connect(ctx(t), peer(t, answer(t, func(c *net.UnixConn, r frame) bool {
		c.Write(wire.Append(nil, wire.TypeError, r.Request, 0, &kinds[next]))
		next++
		return true
	})))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if s.ID() != "abc" || s.Pid() != 42 || s.ShimPid() != 41 || !s.StartedAt().Equal(good.StartedAt) {
		t.Errorf("connected to %s %d %d %v", s.ID(), s.Pid(), s.ShimPid(), s.StartedAt())
	}
	for i := range kinds {
		err := s.Signal(ctx(t), unix.SIGTERM)
		if err == nil || want[i] != nil && !errors.Is(err, want[i]) || !strings.Contains(err.Error(), kinds[i].Text) {
			t.Errorf("code %d became %v", kinds[i].Code, err)
		}
	}
}

// A call that nobody answers holds up neither others nor itself beyond its
// context, and a late answer is no answer to a later call.
func TestCallsAreIndependent(t *testing.T) {
	held := make(chan frame, 1)
	s, err := Connect(ctx(t), peer(t, answer(t, func(c *net.UnixConn, r frame) bool {
		if r.Type == wire.TypeResize {
			held <- r
			return true
		}
		select {
		case late := <-held:
			c.Write(wire.Append(nil, wire.TypeError, late.Request, 0, &wire.Error{Text: "late"}))
		default:
		}
		c.Write(wire.Append(nil, wire.TypeOK, r.Request, 0, nil))
		return true
	})))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	short, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := s.Resize(short, 1, 1); !errors.Is(err, fault.Deadline) {
		t.Errorf("unanswered call = %v", err)
	}
	for range 3 {
		if err := s.Signal(ctx(t), unix.SIGTERM); err != nil {
			t.Error(err)
		}
	}
}

func TestEvents(t *testing.T) {
	exit := wire.ExitRecord{Code: 3, At: time.Unix(5, 0).UTC(), Error: "e"}
	s, err := Connect(ctx(t), peer(t, func(c *net.UnixConn) {
		sayHello(t, c, good)
		b := wire.Append(nil, wire.TypeWarning, 0, 0, &wire.Warning{Text: "careful"})
		b = wire.Append(b, 999, 0, 0, &wire.Warning{Text: "an event of a newer version"})
		c.Write(wire.Append(b, wire.TypeExit, 0, 0, &exit))
	}))
	if err != nil {
		t.Fatal(err)
	}
	<-s.Done()
	if got, err := s.Exit(); err != nil || got != exit {
		t.Errorf("exit = %+v, %v", got, err)
	}
	var warned string
	s.OnWarning(func(text string) { warned = text })
	if warned != "careful" {
		t.Errorf("warning = %q", warned)
	}
	if err := s.Signal(ctx(t), unix.SIGTERM); !errors.Is(err, ErrEnded) || !errors.Is(err, fault.Conflict) {
		t.Errorf("a call after the end = %v", err)
	}
}

// A broken connection to a living shim is made anew.
func TestReconnects(t *testing.T) {
	first := true
	s, err := Connect(ctx(t), peer(t, answer(t, func(c *net.UnixConn, r frame) bool {
		if first {
			first = false
			return false
		}
		c.Write(wire.Append(nil, wire.TypeOK, r.Request, 0, nil))
		return true
	})))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Signal(ctx(t), unix.SIGTERM); err == nil {
		t.Error("a request on a connection that broke got an answer")
	}
	for deadline := time.Now().Add(within); ; time.Sleep(time.Millisecond) {
		if err = s.Signal(ctx(t), unix.SIGTERM); err == nil || time.Now().After(deadline) {
			break
		}
	}
	if err != nil {
		t.Error(err)
	}
	select {
	case <-s.Done():
		t.Error("the run counts as over")
	default:
	}
}

func TestReadExit(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"empty": "", "cut": `{"code":1`, "other": `[]`, "long": `{"error":"` + strings.Repeat("x", 1<<20) + `"}`} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadExit(path); err == nil || errors.Is(err, fault.NotFound) {
			t.Errorf("%s: error = %v", name, err)
		}
	}
	if _, err := ReadExit(filepath.Join(dir, "missing")); !errors.Is(err, fault.NotFound) {
		t.Errorf("missing: error = %v", err)
	}
}

func TestSpawnerIsSealed(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "sampan-runtime")
	if err := os.WriteFile(binary, []byte("#!/bin/true\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	s, err := NewSpawner(binary)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.binary.WriteAt([]byte("x"), 0); !errors.Is(err, unix.EPERM) {
		t.Errorf("writing to the sealed copy = %v", err)
	}
	if _, err := NewSpawner(binary + ".missing"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing binary = %v", err)
	}
}
