package launch

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// over runs argv by way of a trampoline.
func over(t *testing.T, candidates []string, argv ...string) (syscall.WaitStatus, error) {
	t.Helper()
	tr, err := NewTrampoline()
	if err != nil {
		t.Fatal(err)
	}
	defer tr.File().Close()
	b := NewBuilder()
	const report = 60 // a number that is free
	b.Call(unix.SYS_DUP3, In(Report), Int(report), Int(0))
	b.Set(Report, Int(report))
	b.At("execute")
	b.ExecTrampoline(tr, Int(int(tr.File().Fd())), report, candidates, b.Strs(argv), b.Strs([]string{"A=b"}))
	_, status, err := run(t, b)
	return status, err
}

func TestTrampoline(t *testing.T) {
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"plain": 0o644, "script": 0o755, "self": 0o755} {
		text := "#!/bin/sh\nexit 6\n"
		if name == "self" {
			text = "#!/proc/self/exe\n"
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	for _, tt := range []struct {
		name       string
		candidates []string
		argv       []string
		status     int
		errno      syscall.Errno
	}{
		{"program", []string{"/bin/sh"}, []string{"sh", "-c", `test "$A" = b && exit 5`}, 5, 0},
		{"arguments", []string{"/bin/sh"}, []string{"sh", "-c", `test "$1$2" = xy && exit 5`, "-", "x", "y"}, 5, 0},
		{"no socket is left", []string{"/bin/sh"}, []string{"sh", "-c", "test -e /proc/self/fd/60 || exit 5"}, 5, 0},
		{"second candidate", []string{in("none"), in("script")}, []string{"x"}, 6, 0},
		{"past a directory that is a file", []string{in("script/x"), in("script")}, []string{"x"}, 6, 0},
		{"past a file that is not executable", []string{in("plain"), in("script")}, []string{"x"}, 6, 0},
		{"missing", []string{in("none"), in("none2")}, []string{"x"}, failStatus, syscall.ENOENT},
		{"denied", []string{in("plain"), in("none")}, []string{"x"}, failStatus, syscall.EACCES},
		{"directory", []string{dir}, []string{"x"}, failStatus, syscall.EACCES},
		{"itself", []string{"/proc/self/exe"}, []string{"x"}, failStatus, 0},
		{"interpreter", []string{in("self")}, []string{"x"}, failStatus, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, err := over(t, tt.candidates, tt.argv...)
			if status.ExitStatus() != tt.status {
				t.Errorf("status %d, want %d", status.ExitStatus(), tt.status)
			}
			var f *Failure
			switch {
			case tt.errno == 0 && err != nil:
				t.Error(err)
			case tt.errno != 0 && (!errors.As(err, &f) || f.Errno != tt.errno || f.Site.What != "execute"):
				t.Errorf("error %v, want %v", err, tt.errno)
			}
		})
	}
}

// Nobody can change a trampoline, whatever descriptor of it is held.
func TestTrampolineIsSealed(t *testing.T) {
	tr, err := NewTrampoline()
	if err != nil {
		t.Fatal(err)
	}
	defer tr.File().Close()
	if err := tr.write(3, 0, []string{"/bin/true"}); err != nil {
		t.Fatal(err)
	}
	if _, err := tr.File().WriteAt([]byte("evil"), 0); !errors.Is(err, syscall.EPERM) {
		t.Errorf("write: %v", err)
	}
	if err := tr.File().Truncate(0); !errors.Is(err, syscall.EPERM) {
		t.Errorf("truncate: %v", err)
	}
}
