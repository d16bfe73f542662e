package handle

import (
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain lets the test's own binary play the shim: it waits for the daemon to
// hang up.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "shim" {
		io.Copy(io.Discard, os.NewFile(3, "control"))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func spawner(t *testing.T) *Spawner {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSpawner(self)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// prepared returns the process that Prepare has started.
func prepared(t *testing.T, s *Spawner, id string) (pid int) {
	t.Helper()
	s.spares.mu.Lock()
	sp := s.spares.of[id]
	s.spares.mu.Unlock()
	if sp == nil {
		t.Fatal("nothing was prepared")
	}
	<-sp.ready
	if sp.shim == nil {
		t.Fatal("the shim did not start")
	}
	return sp.shim.ShimPid()
}

// gone fails unless the process has ended and was collected.
func gone(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(within); ; time.Sleep(time.Millisecond) {
		if errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("process %d is still there", pid)
		}
	}
}

func TestSpares(t *testing.T) {
	s := spawner(t)
	t.Run("started without being told", func(t *testing.T) {
		s.Prepare("a", false)
		pid := prepared(t, s, "a")
		s.Prepare("a", true)
		sh, err := s.obtain("a", "/run/a")
		if err != nil {
			t.Fatal(err)
		}
		if sh.ShimPid() != pid || sh.runDir != "/run/a" {
			t.Errorf("got process %d in %s, prepared was %d", sh.ShimPid(), sh.runDir, pid)
		}
		sh.drop()
		sh.reap()
		gone(t, pid)
	})
	t.Run("called off", func(t *testing.T) {
		s.Prepare("b", true)
		pid := prepared(t, s, "b")
		s.Dismiss("b")
		gone(t, pid)
		s.Dismiss("b")
	})
	t.Run("no start follows", func(t *testing.T) {
		s.Prepare("c", true)
		gone(t, prepared(t, s, "c"))
	})
	t.Run("bounded", func(t *testing.T) {
		s.spares.mu.Lock()
		s.spares.of = map[string]*spare{}
		for i := range maxSpares {
			s.spares.of[string(rune('A'+i))] = nil
		}
		s.spares.mu.Unlock()
		s.Prepare("one too many", true)
		s.spares.mu.Lock()
		defer s.spares.mu.Unlock()
		if n := len(s.spares.of); n > maxSpares {
			t.Errorf("%d shims wait", n)
		}
		clear(s.spares.of)
	})
	t.Run("the daemon ends", func(t *testing.T) {
		s.Prepare("d", true)
		var pids []int
		s.spares.mu.Lock()
		for _, sp := range s.spares.of {
			<-sp.ready
			pids = append(pids, sp.shim.ShimPid())
		}
		s.spares.mu.Unlock()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		for _, pid := range pids {
			gone(t, pid)
		}
		s.Prepare("e", true)
		if len(s.spares.of) > 0 {
			t.Error("prepared after the end")
		}
	})
}
