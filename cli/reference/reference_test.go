package reference_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sampan-containers/sampan/cli"
	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/reference"
)

// TestPagesAreUpToDate compares docs/commands with what the commands say now.
func TestPagesAreUpToDate(t *testing.T) {
	root := cli.NewRoot(app.New("sampan", strings.NewReader(""), io.Discard, io.Discard), nil)
	pages := reference.Pages(root)
	if len(pages) < 50 || !strings.Contains(pages["container_run.md"], "`--volumes-from") {
		t.Fatalf("%d pages", len(pages))
	}
	const dir = "../../docs/commands"
	stale := 0
	for name, want := range pages {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
			stale++
		}
	}
	there, err := filepath.Glob(dir + "/*.md")
	if err != nil {
		t.Fatal(err)
	}
	if stale > 0 || len(there) != len(pages) {
		t.Errorf("%d pages of docs/commands are not what the commands say, and %d are there for %d commands: run go generate ./cli/reference", stale, len(there), len(pages))
	}
}
