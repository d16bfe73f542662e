package scenario

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sampan-containers/sampan/test/lab"
)

// dockerArchive is an image of one layer with a config of the test's own.
func dockerArchive(t *testing.T, name, layer string, config map[string]any) string {
	t.Helper()
	raw, err := os.ReadFile(layer)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(raw)
	cfg, err := json.Marshal(map[string]any{
		"os": "linux", "architecture": "amd64", "config": config,
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + hex.EncodeToString(sum[:])}},
	})
	if err != nil {
		t.Fatal(err)
	}
	list, err := json.Marshal([]map[string]any{{"Config": "config.json", "RepoTags": []string{name}, "Layers": []string{"layer.tar"}}})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range []struct {
		name string
		raw  []byte
	}{{"layer.tar", raw}, {"config.json", cfg}, {"manifest.json", list}} {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: 0o644, Size: int64(len(f.raw))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(f.raw); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "archive.tar")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A hostile config (A6): volumes and a working directory that climb or lead through
// links, and variables without a name or value, stay inside the container.
func TestHostileImageConfig(t *testing.T) {
	d := start(t)
	before, err := os.Stat("/etc")
	if err != nil {
		t.Fatal(err)
	}
	for name, config := range map[string]map[string]any{
		"volume":    {"Volumes": map[string]any{"/../../../etc/hostile": map[string]any{}}},
		"directory": {"WorkingDir": "/../../../tmp/hostile"},
		"variables": {"Env": []string{"NOVALUE", "A=1", "=x", ""}},
		"command":   {"Cmd": []string{"echo", "\x1b[2J"}},
	} {
		t.Run(name, func(t *testing.T) {
			config["Cmd"] = []string{"/bin/sh", "-c", "pwd; env"}
			d.Sampan("load", "-q", "-i", dockerArchive(t, "hostile:"+name, busyboxTar(t), config)).Must(t)
			r := d.Sampan("run", "--rm", "hostile:"+name)
			switch {
			case r.Code != 0 && !strings.Contains(r.Err, "nvalid"):
				t.Errorf("exit %d, %s", r.Code, r.Err)
			case r.Code == 0 && name == "directory" && !strings.HasPrefix(r.Out, "/tmp/hostile\n"):
				t.Errorf("it works in %q", r.Out)
			case r.Code == 0 && name == "variables" && !strings.Contains(r.Out, "A=1\n"):
				t.Errorf("variables %q", r.Out)
			}
			for _, path := range []string{"/etc/hostile", "/tmp/hostile"} {
				if _, err := os.Lstat(path); !os.IsNotExist(err) {
					t.Errorf("%s is there on the host: %v", path, err)
				}
			}
		})
	}
	if after, err := os.Stat("/etc"); err != nil || after.ModTime() != before.ModTime() {
		t.Errorf("/etc of the host was changed: %v", err)
	}
}

// The image commands as a user types them, with nothing left at the end.
func TestImageCommands(t *testing.T) {
	d := start(t)
	id := d.Sampan("image", "inspect", "-f", "{{.Id}}", busybox).Must(t)
	archive := filepath.Join(t.TempDir(), "saved.tar")
	d.Sampan("tag", busybox, "other/name:v1").Must(t)
	d.Sampan("save", "-o", archive, busybox, "other/name").Must(t)
	raw, err := os.ReadFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	if out := d.Sampan("image", "prune", "-a", "--dry-run").Must(t); !strings.Contains(out, "untagged: "+busybox) || !strings.Contains(out, "would be reclaimed: ") {
		t.Errorf("dry run: %s", out)
	}
	if out := d.Sampan("images", "--tree").Must(t); !strings.Contains(out, busybox) || !strings.Contains(out, "└─ linux/amd64") {
		t.Errorf("tree: %s", out)
	}
	if r := d.Docker("image", "prune", "-f", "--filter", "dry-run=true"); r.Code != 0 {
		t.Errorf("the stock client: %s", r.Err)
	}
	d.Sampan("rmi", busybox, "other/name:v1").Must(t)
	if out := d.Sampan("images", "-q").Must(t); out != "" {
		t.Errorf("after rmi: %s", out)
	}
	if out := lab.Run(t, raw, lab.Bin(t, "sampan"), "load").Must(t); !strings.Contains(out, "Loaded image: other/name:v1") {
		t.Errorf("load from standard input: %s", out)
	}
	if got := d.Sampan("image", "inspect", "-f", "{{.Id}}", "other/name:v1").Must(t); got != id {
		t.Errorf("the ID became %s, was %s", got, id)
	}
	d.Sampan("system", "check", "--images").Must(t)
	damage(t)
	if r := d.Sampan("system", "check", "--images"); r.Code != 1 || !strings.Contains(r.Out, "damaged: layer ") || !strings.Contains(r.Out, busybox) {
		t.Errorf("check of a damaged layer: exit %d, %s%s", r.Code, r.Out, r.Err)
	}
	d.Sampan("image", "prune", "-af").Must(t)
	d.Sampan("system", "check", "--images").Must(t)
	if out := d.Sampan("system", "df", "--format", "{{.Type}} {{.Size}}").Must(t); !strings.Contains(out, "Images 0B") {
		t.Errorf("df: %s", out)
	}
}

// damage changes one file of a layer.
func damage(t *testing.T) {
	t.Helper()
	var file string
	err := filepath.WalkDir(lab.DataRoot+"/layers/sha256", func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Name() == "passwd" {
			file = path
		}
		return err
	})
	if err != nil || file == "" {
		t.Fatalf("no layer has the file: %v", err)
	}
	if err := os.WriteFile(file, []byte("spoiled"), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Containers run on each storage driver, and go on when the daemon has another one.
func TestStorageDrivers(t *testing.T) {
	d := lab.Start(t, "--storage-driver", "vfs")
	d.Import(busyboxTar(t), busybox)
	if out := d.Docker("info", "-f", "{{.Driver}}").Must(t); out != "vfs" {
		t.Errorf("driver %s", out)
	}
	d.Sampan("run", "--name", "one", busybox, "sh", "-c", "echo kept >/kept; rm /etc/noexec").Must(t)
	if out := d.Sampan("diff", "one").Must(t); out != "C /etc\nD /etc/noexec\nA /kept" {
		t.Errorf("diff %q", out)
	}
	d.Sampan("commit", "one", "changed:1").Must(t)
	d.Restart("--storage-driver", "overlay")
	if out := d.Sampan("run", "--rm", "changed:1", "cat", "/kept").Must(t); out != "kept" {
		t.Errorf("on overlay: %q", out)
	}
	d.Sampan("start", "-a", "one")
	if out := d.Sampan("cp", "one:/kept", "-").Must(t); !strings.Contains(out, "kept") {
		t.Errorf("cp: %q", out)
	}
	for _, name := range []string{"aufs", "devicemapper"} {
		r := lab.Run(t, nil, lab.Bin(t, "sampand"), "--storage-driver", name)
		if r.Code == 0 || !strings.Contains(r.Err, "leave the option out for overlay2") {
			t.Errorf("%s: exit %d, %s", name, r.Code, r.Err)
		}
	}
}
