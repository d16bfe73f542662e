// Package builtin is the root file system of the image sampan/box: a pure function
// of the binary that holds its shell and tools.
package builtin

import (
	"archive/tar"
	"debug/buildinfo"
	"io"
	"os"
	"strings"
	"time"

	"github.com/sampan-containers/sampan/box/applets"
)

// program is the binary's name in the image.
const program = "sampan-box"

// BuiltAt is the commit time that the Go linker recorded: the image must be a
// pure function of the binary.
func BuiltAt(path string) time.Time {
	fallback := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return fallback
	}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.time" {
			if t, err := time.Parse(time.RFC3339, setting.Value); err == nil {
				return t.UTC()
			}
		}
	}
	return fallback
}

// directories and files are the image's root file system beside the binary and
// one link for each applet.
var directories = []struct {
	name string
	mode int64
}{
	{".", 0o755}, {"bin", 0o755}, {"dev", 0o755}, {"etc", 0o755}, {"home", 0o755}, {"proc", 0o555},
	{"root", 0o700}, {"run", 0o755}, {"sbin", 0o755}, {"sys", 0o555}, {"tmp", 0o1777}, {"usr", 0o755},
	{"usr/bin", 0o755}, {"usr/sbin", 0o755}, {"var", 0o755}, {"var/log", 0o755}, {"var/tmp", 0o1777},
}

var files = []struct{ name, text string }{
	{"etc/group", "root:x:0:\ndaemon:x:1:\ntty:x:5:\nwww-data:x:33:\nnogroup:x:65534:\n"},
	{"etc/passwd", "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\nwww-data:x:33:33:www-data:/var/www:/bin/false\nnobody:x:65534:65534:nobody:/home:/bin/false\n"},
	{"etc/profile", "# Read by a login shell (sh -l).\nexport PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"},
	{"etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"},
	{"etc/os-release", "NAME=\"Sampan box\"\nID=sampan-box\nPRETTY_NAME=\"Sampan box\"\n"},
	{"etc/shells", "/bin/sh\n"},
}

// Write writes the root file system as a tar; every entry is dated at.
func Write(w io.Writer, binary *os.File, at time.Time) error {
	st, err := binary.Stat()
	if err != nil {
		return err
	}
	t := tar.NewWriter(w)
	add := func(h *tar.Header, content io.Reader) error {
		h.ModTime = at
		h.Format = tar.FormatPAX
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		_, err := io.Copy(t, content)
		return err
	}
	none := strings.NewReader("")
	for _, dir := range directories {
		if err := add(&tar.Header{Typeflag: tar.TypeDir, Name: dir.name + "/", Mode: dir.mode}, none); err != nil {
			return err
		}
	}
	for _, f := range files {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: 0o644, Size: int64(len(f.text))}
		if err := add(h, strings.NewReader(f.text)); err != nil {
			return err
		}
	}
	h := &tar.Header{Typeflag: tar.TypeReg, Name: "bin/" + program, Mode: 0o755, Size: st.Size()}
	if err := add(h, binary); err != nil {
		return err
	}
	for _, applet := range applets.Names() {
		h := &tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/" + applet, Linkname: "/bin/" + program, Mode: 0o777}
		if err := add(h, none); err != nil {
			return err
		}
	}
	return t.Close()
}
