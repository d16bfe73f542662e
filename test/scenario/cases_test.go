package scenario

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/sampan-containers/sampan/test/compat"
	"github.com/sampan-containers/sampan/test/lab"
)

// TestCasesOfOurs runs the lines of test/compat/cases/ours.txt: exit code, and
// what is printed.
func TestCasesOfOurs(t *testing.T) {
	start(t)
	lines, err := compat.Lines("../compat/cases/ours.txt")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "env"), []byte("A=1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, l := range lines {
		t.Run(l.Name(), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), lab.Scale(time.Minute))
			defer cancel()
			cmd := exec.CommandContext(ctx, "/bin/sh", "-c", l.Command)
			cmd.Env = []string{"PATH=" + filepath.Dir(lab.Bin(t, "sampan")) + ":/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + dir, "D=" + dir}
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			err := cmd.Run()
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) {
				t.Fatalf("%s: %v\n%s", l.Command, err, out.String())
			}
			if got := cmd.ProcessState.ExitCode(); got != l.Exit || l.Prints != nil && !l.Prints.Match(out.Bytes()) {
				t.Errorf("%s\nexit %d, want %d; printed, want %v:\n%s", l.Command, got, l.Exit, l.Prints, out.String())
			}
		})
	}
}
