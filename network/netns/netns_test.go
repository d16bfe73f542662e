package netns

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func identity(t *testing.T, ns *os.File) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Fstat(int(ns.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

// TestThreadsGoHome: whatever happens inside, no thread of the process stays in
// another namespace.
func TestThreadsGoHome(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("a network namespace needs root")
	}
	home, err := Current()
	if err != nil {
		t.Fatal(err)
	}
	defer home.Close()
	boom := errors.New("boom")
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			sb, err := NewSandbox()
			if err != nil {
				t.Error(err)
				return
			}
			defer sb.File.Close()
			sb.Conn.Close()
			err = Do(sb.File, func() error {
				inside, err := Current()
				if err != nil {
					return err
				}
				defer inside.Close()
				if identity(t, inside) != identity(t, sb.File) || identity(t, inside) == identity(t, home) {
					t.Error("Do runs in another namespace")
				}
				if i%2 == 0 {
					return boom
				}
				return nil
			})
			if (i%2 == 0) != errors.Is(err, boom) {
				t.Errorf("Do = %v", err)
			}
		})
	}
	wg.Wait()
	if _, err := New(func() error { return boom }); !errors.Is(err, boom) {
		t.Errorf("New = %v", err)
	}
	tasks, err := filepath.Glob("/proc/self/task/*/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.Readlink(tasks[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		if got, err := os.Readlink(task); err == nil && got != want {
			t.Errorf("%s is in %s, the process in %s", task, got, want)
		}
	}
}

func TestWriteSysctlNamesTheFile(t *testing.T) {
	if err := WriteSysctl("/proc/sys/net/nope", "1"); !errors.Is(err, unix.ENOENT) || !strings.Contains(err.Error(), "/proc/sys/net/nope") {
		t.Errorf("WriteSysctl = %v", err)
	}
}
