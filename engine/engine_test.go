package engine

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/state"
)

func TestStepsGoUpAndDown(t *testing.T) {
	var did []string
	step := func(name string, err error) Step {
		return Step{Name: name,
			Up:   func(context.Context) error { did = append(did, "+"+name); return err },
			Down: func(context.Context) error { did = append(did, "-"+name); return nil }}
	}
	log := slog.New(slog.DiscardHandler)
	e, err := Start(t.Context(), log, []Step{step("a", nil), {Name: "empty"}, step("b", nil)})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(e.Stop(t.Context()), e.Stop(t.Context())); err != nil {
		t.Fatal(err)
	}
	if want := []string{"+a", "+b", "-b", "-a"}; !slices.Equal(did, want) {
		t.Errorf("got %v, want %v", did, want)
	}
	did = nil
	broken := errors.New("no disk")
	_, err = Start(t.Context(), log, []Step{step("a", nil), step("b", broken), step("c", nil)})
	if !errors.Is(err, broken) || !strings.HasPrefix(err.Error(), "b: ") {
		t.Errorf("got %v", err)
	}
	if want := []string{"+a", "+b", "-a"}; !slices.Equal(did, want) {
		t.Errorf("got %v, want %v", did, want)
	}
}

func TestOneDaemonPerRoot(t *testing.T) {
	dir := t.TempDir()
	first, err := LockRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = LockRoot(dir)
	if !errors.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "pid "+strconv.Itoa(os.Getpid())) {
		t.Fatalf("got %v", err)
	}
	if err := first.Unlock(); err != nil {
		t.Fatal(err)
	}
	again, err := LockRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	again.Unlock()
}

func TestRootsAreClosed(t *testing.T) {
	dir := t.TempDir()
	for _, group := range []bool{false, true} {
		if err := MakeRoots(filepath.Join(dir, "data"), filepath.Join(dir, "run"), group); err != nil {
			t.Fatal(err)
		}
		want := map[string]os.FileMode{"data": 0o700, "run": 0o700, "run/containers": 0o700}
		if group {
			want["run"] = 0o711
		}
		for name, mode := range want {
			st, err := os.Stat(filepath.Join(dir, name))
			if err != nil || st.Mode().Perm() != mode {
				t.Errorf("%s: %v, %v", name, st.Mode(), err)
			}
		}
	}
}

func TestPidFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "d", "pid")
	// What a crash left, also with the number of a process that runs.
	for _, stale := range []string{"", "1", strconv.Itoa(os.Getppid()), "999999999", "../../etc", "x"} {
		if stale != "" {
			if err := os.WriteFile(path, []byte(stale), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		l, err := LockPidFile(path)
		if err != nil {
			t.Fatalf("over %q: %v", stale, err)
		}
		if raw, _ := os.ReadFile(path); strings.TrimSpace(string(raw)) != strconv.Itoa(os.Getpid()) {
			t.Errorf("over %q: got %q", stale, raw)
		}
		if _, err := LockPidFile(path); !errors.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "pid "+strconv.Itoa(os.Getpid())) {
			t.Errorf("a second daemon got %v", err)
		}
		if err := l.Remove(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(path); err == nil {
			t.Error("the file is still there")
		}
	}
}

func TestIdentityStays(t *testing.T) {
	store, err := state.Open(filepath.Join(t.TempDir(), "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	one, err := Identity(store)
	if err != nil || len(one) != 36 {
		t.Fatalf("got %q, %v", one, err)
	}
	if two, err := Identity(store); err != nil || one != two {
		t.Errorf("got %q, then %q, %v", one, two, err)
	}
}

func TestNotify(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	if err := Notify("READY=1"); err != nil {
		t.Error(err)
	}
	path := filepath.Join(t.TempDir(), "n")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	if err := Notify("READY=1"); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 64)
	n, err := conn.Read(buf)
	if err != nil || string(buf[:n]) != "READY=1" {
		t.Errorf("got %q, %v", buf[:n], err)
	}
}

func TestDestroyOfAMissingGroup(t *testing.T) {
	if err := (Groups{}).Destroy(t.Context(), "/sampan-test-no-such-group"); err != nil {
		t.Error(err)
	}
}
