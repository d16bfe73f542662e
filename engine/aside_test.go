package engine

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sampan-containers/sampan/fault"
)

func TestStateThatIsDamagedOrGone(t *testing.T) {
	root := t.TempDir()
	written := filepath.Join(root, "containers", "0123", "upper", "written")
	if err := os.MkdirAll(filepath.Dir(written), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(written, []byte("by a container"), 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(root, "state.db")
	if err := os.WriteFile(path, []byte(strings.Repeat("?", 40_000)), 0o600); err != nil {
		t.Fatal(err)
	}
	_, aside, err := OpenState(root)
	if !errors.Is(err, fault.Unavailable) || aside != "" || !strings.Contains(err.Error(), "mv "+path) || strings.Contains(err.Error(), "\n") {
		t.Errorf("a damaged store: %q, %v", aside, err)
	}
	if _, err := os.Stat(written); err != nil {
		t.Errorf("a damaged store has cost a file: %v", err)
	}

	// What the message says to do.
	if err := os.Rename(path, path+".damaged"); err != nil {
		t.Fatal(err)
	}
	store, aside, err := OpenState(root)
	if err != nil {
		t.Fatal(err)
	}
	if raw, err := os.ReadFile(filepath.Join(aside, "0123/upper/written")); err != nil || string(raw) != "by a container" || !strings.HasPrefix(aside, root+"/lost/") {
		t.Errorf("put aside at %q: %q, %v", aside, raw, err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}

	// With a store nothing moves.
	if err := os.MkdirAll(filepath.Dir(written), 0o700); err != nil {
		t.Fatal(err)
	}
	store, aside, err = OpenState(root)
	if err != nil || aside != "" {
		t.Fatalf("a whole store: %q, %v", aside, err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
}
