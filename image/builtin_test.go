package image

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sampan-containers/sampan/box/applets"
	"github.com/sampan-containers/sampan/fault"
)

func withBox(t *testing.T, e *engine, content string) {
	t.Helper()
	e.cfg.BoxBinary = filepath.Join(t.TempDir(), "sampan-box")
	if err := os.WriteFile(e.cfg.BoxBinary, []byte(content), 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestPullOfTheBuiltinImage(t *testing.T) {
	e := openEngine(t, t.TempDir())
	withBox(t, e, "the program")
	var out bytes.Buffer
	if err := pullBuiltin(e, t, "sampan/box", "latest", "", &out); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), `"Pulling from sampan/box"`) || !strings.Contains(out.String(), "Status: ") || !strings.HasSuffix(out.String(), "\r\n") {
		t.Errorf("progress = %q", out.String())
	}
	first, err := e.Get(t.Context(), "sampan/box:latest")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(first.Config.Config.Cmd, []string{"sh"}) || len(first.Config.Config.Env) != 1 {
		t.Errorf("config = %+v", first.Config.Config)
	}
	lowers, err := e.Lowers(first)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(lowers[0], "bin/sampan-box")); err != nil || string(got) != "the program" {
		t.Errorf("bin/sampan-box = %q, %v", got, err)
	}
	for _, name := range applets.Names() {
		if target, err := os.Readlink(filepath.Join(lowers[0], "bin", name)); err != nil || target != "/bin/sampan-box" {
			t.Errorf("bin/%s → %q, %v", name, target, err)
		}
	}
	if st, err := os.Stat(filepath.Join(lowers[0], "tmp")); err != nil || st.Mode().Perm() != 0o777 || st.Mode()&os.ModeSticky == 0 {
		t.Errorf("tmp: %v, %v", st, err)
	}

	again, _, err := e.ensureBuiltin(t.Context())
	if err != nil || again.ID != first.ID {
		t.Errorf("made again: %v, %v", again, err)
	}
	other := openEngine(t, t.TempDir())
	withBox(t, other, "the program")
	if same, _, err := other.ensureBuiltin(t.Context()); err != nil || same.ID != first.ID {
		t.Errorf("another data root makes another image of the same program: %v, %v", same, err)
	}
	withBox(t, e, "a newer program")
	if newer, _, err := e.ensureBuiltin(t.Context()); err != nil || newer.ID == first.ID {
		t.Errorf("a newer program makes no newer image: %v, %v", newer, err)
	}
}

// pullBuiltin is a pull as transfer does it.
func pullBuiltin(e *engine, t *testing.T, name, tag, platform string, out *bytes.Buffer) error {
	ref, err := ParsePull(name, tag)
	if err != nil {
		return err
	}
	if !IsBuiltin(ref) {
		return fault.New(fault.NotImplemented, "%s is not built in", ref)
	}
	return e.PullBuiltin(t.Context(), ref, platform, out)
}

func TestPullOfWhatIsNotBuiltIn(t *testing.T) {
	e := openEngine(t, t.TempDir())
	withBox(t, e, "the program")
	for _, test := range []struct {
		name, tag, platform string
		class               *fault.Class
		want                string
	}{
		{"debian", "12", "", fault.NotImplemented, "not built in"},
		{"registry.example/sampan/box", "", "", fault.NotImplemented, "not built in"},
		{"sampan/box", "v9", "", fault.NotFound, "only the tag latest"},
		{"sampan/box", "", "linux/s390x", fault.NotFound, "is for"},
		{"sampan/box", "", "plan9", fault.Invalid, "not supported"},
		{"UP", "", "", fault.Invalid, "lowercase"},
		{"x", "sha256:" + strings.Repeat("a", 64), "", fault.NotImplemented, "not built in"},
	} {
		var out bytes.Buffer
		err := pullBuiltin(e, t, test.name, test.tag, test.platform, &out)
		if !errors.Is(err, test.class) || !strings.Contains(err.Error(), test.want) || out.Len() > 0 {
			t.Errorf("pull of %q %q %q = %v, progress %q", test.name, test.tag, test.platform, err, out.String())
		}
	}
	e.cfg.BoxBinary = filepath.Join(t.TempDir(), "absent")
	if err := pullBuiltin(e, t, "sampan/box", "", "", &bytes.Buffer{}); !errors.Is(err, fault.NotFound) || !strings.Contains(err.Error(), "absent") {
		t.Errorf("without the program: %v", err)
	}
}
