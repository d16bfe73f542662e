package external

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sampan-containers/sampan/runtime"
)

func TestClassify(t *testing.T) {
	for _, tt := range []struct {
		name, said string
		class      error
	}{
		{"runc missing", `runc create failed: unable to start container process: exec: "nosuch": executable file not found in $PATH`, runtime.ErrNotFound},
		{"runc missing path", `unable to start container process: exec: "/nosuch": stat /nosuch: no such file or directory`, runtime.ErrNotFound},
		{"runc directory", `unable to start container process: exec: "/etc": permission denied`, runtime.ErrNotExecutable},
		{"crun missing", "executable file `nosuch` not found in $PATH: No such file or directory", runtime.ErrNotFound},
		{"crun directory", "open executable: Operation not permitted", runtime.ErrNotExecutable},
		{"crun denied", "open executable: Permission denied", runtime.ErrNotExecutable},
		{"foreign format", `exec /bin/x: exec format error`, runtime.ErrNotExecutable},
		{"another thing", "cgroups in hybrid mode not supported, drop all controllers from cgroupv2", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := classify(&runtimeError{"runc", "create", tt.said}, []string{"nosuch"})
			for _, class := range []error{runtime.ErrNotFound, runtime.ErrNotExecutable} {
				if errors.Is(err, class) != (class == tt.class) {
					t.Errorf("%q: is %v: %v", err, class, errors.Is(err, class))
				}
			}
			if tt.class == nil && !strings.Contains(err.Error(), tt.said) {
				t.Errorf("the runtime's own words are lost: %q", err)
			}
		})
	}
	if other := errors.New("exec: no such file or directory"); classify(other, []string{"x"}) != other {
		t.Error("an error that the runtime did not say was given a class")
	}
}

func TestLastError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if got := lastError(path); got != "" {
		t.Errorf("no log: %q", got)
	}
	text := `{"level":"warning","msg":"a"}
not json
{"level":"error","msg":"first"}
{ "msg" : "second", "level": "error", "time":"x" }
{"level":"info","msg":"b"}
` + strings.Repeat("x", 2*maxLog)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := lastError(path); got != "second" {
		t.Errorf("got %q", got)
	}
}

// A program that is not there is no missing command of the container.
func TestMissingProgram(t *testing.T) {
	mounts, err := os.Open("/proc/self/ns/mnt")
	if err != nil {
		t.Fatal(err)
	}
	defer mounts.Close()
	p := &program{path: "/no/such/runtime", dir: t.TempDir(), id: "x", mounts: mounts}
	err = p.run([3]*os.File{}, "create", "x")
	if err == nil || strings.Contains(err.Error(), "no such file") || !strings.Contains(err.Error(), "/no/such/runtime") {
		t.Errorf("got %v", err)
	}
}
