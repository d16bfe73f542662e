// Package tars is the corpus of hostile archives: each tries to reach a file
// outside of the directory it is unpacked into. Everything that unpacks what others
// wrote is held against all of them: layers of a pull or a load, import, commit and
// cp.
package tars

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Attack is one archive.
type Attack struct {
	Name string
	Raw  []byte
	// Refused says that it cannot be a layer. The others unpack and do no harm.
	Refused bool
}

// All returns the corpus, aimed at a canary.
func All(t testing.TB, c *Canary) []Attack {
	t.Helper()
	var out []Attack
	for name, attack := range attacks() {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, m := range attack.members {
			m.Format = tar.FormatPAX
			m.Size = int64(len(m.content))
			m.Name = strings.ReplaceAll(m.Name, "OUT", c.Dir)
			m.Linkname = strings.ReplaceAll(m.Linkname, "OUT", c.Dir)
			if err := w.WriteHeader(&m.Header); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if _, err := io.WriteString(w, m.content); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		out = append(out, Attack{name, b.Bytes(), attack.refused})
	}
	return out
}

// member is one entry; content is only for regular files.
type member struct {
	tar.Header
	content string
}

func dir(name string, mode int64) member {
	return member{Header: tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: mode}}
}

func file(name, content string) member {
	return member{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644}, content}
}

func link(kind byte, name, target string) member {
	return member{Header: tar.Header{Typeflag: kind, Name: name, Linkname: target, Mode: 0o777}}
}

// Canary is files outside of every root that no archive may change.
type Canary struct {
	Dir  string
	sums map[string]string
}

// NewCanary makes the files.
func NewCanary(t testing.TB) *Canary {
	t.Helper()
	c := &Canary{Dir: t.TempDir(), sums: map[string]string{}}
	if err := os.MkdirAll(filepath.Join(c.Dir, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"etc/passwd", "secret"} {
		if err := os.WriteFile(filepath.Join(c.Dir, name), []byte("canary of "+name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c.sums = c.state(t)
	return c
}

// state describes everything below the directory: names, modes, owners, links, content.
func (c *Canary) state(t testing.TB) map[string]string {
	t.Helper()
	state := map[string]string{}
	err := filepath.WalkDir(c.Dir, func(p string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(p, &st); err != nil {
			return err
		}
		text := hex.EncodeToString([]byte{byte(st.Mode >> 8), byte(st.Mode)}) + " " + string(rune('0'+st.Nlink))
		if e.Type().IsRegular() {
			data, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			sum := sha256.Sum256(data)
			text += hex.EncodeToString(sum[:])
		}
		state[p] = text
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return state
}

// Check fails the test if one of them changed, or another appeared.
func (c *Canary) Check(t testing.TB) {
	t.Helper()
	now := c.state(t)
	for p, was := range c.sums {
		if now[p] != was {
			t.Errorf("%s changed: %q is now %q", p, was, now[p])
		}
	}
	for p := range now {
		if _, ok := c.sums[p]; !ok {
			t.Errorf("%s appeared", p)
		}
	}
}

// attacks returns the corpus; OUT stands for the canary's directory. refused says
// that a layer with it is refused; else it is contained: it unpacks and does no harm.
func attacks() map[string]struct {
	members []member
	refused bool
} {
	return map[string]struct {
		members []member
		refused bool
	}{
		"absolute name":            {[]member{file("OUT/secret", "x")}, false},
		"climbing name":            {[]member{file("../../../../../../../../OUT/secret", "x")}, true},
		"climbing inside":          {[]member{file("a/../../../../../../OUT/secret", "x")}, true},
		"dot dot alone":            {[]member{dir("..", 0o777)}, true},
		"dot dot directory":        {[]member{dir("../", 0o777)}, true},
		"link then file":           {[]member{link(tar.TypeSymlink, "l", "OUT"), file("l/secret", "x")}, true},
		"relative link then file":  {[]member{link(tar.TypeSymlink, "l", "../../../../../../../../OUT"), file("l/secret", "x")}, true},
		"link to root, then file":  {[]member{link(tar.TypeSymlink, "l", "/"), file("l/OUT/secret", "x")}, false},
		"link is the file":         {[]member{link(tar.TypeSymlink, "f", "OUT/secret"), file("f", "x")}, false},
		"dangling link, then file": {[]member{link(tar.TypeSymlink, "f", "OUT/new"), file("f", "x")}, false},
		"chain of links":           {[]member{link(tar.TypeSymlink, "a", "b"), link(tar.TypeSymlink, "b", "OUT"), file("a/secret", "x")}, true},
		"loop of links":            {[]member{link(tar.TypeSymlink, "a", "b"), link(tar.TypeSymlink, "b", "a"), file("a/x", "x")}, true},
		"magic link":               {[]member{link(tar.TypeSymlink, "p", "/proc/self/cwd"), file("p/x", "x")}, true},
		"hard link to the host":    {[]member{link(tar.TypeLink, "h", "OUT/secret"), file("h", "x")}, true},
		"hard link, climbing":      {[]member{link(tar.TypeLink, "h", "../../../../../../OUT/secret"), file("h", "x")}, true},
		"hard link through a link": {[]member{link(tar.TypeSymlink, "l", "OUT"), link(tar.TypeLink, "h", "l/secret")}, true},
		"hard link to a link":      {[]member{link(tar.TypeSymlink, "l", "OUT/secret"), link(tar.TypeLink, "h", "l"), file("h", "x")}, false},
		"hard link to itself":      {[]member{file("h", "x"), link(tar.TypeLink, "h", "h")}, false},
		"hard link to a directory": {[]member{dir("d", 0o755), link(tar.TypeLink, "h", "d")}, true},
		"hard link to the root":    {[]member{link(tar.TypeLink, "h", "/")}, true},
		"mode through a link":      {[]member{link(tar.TypeSymlink, "l", "OUT/secret"), {Header: tar.Header{Typeflag: tar.TypeLink, Name: "h", Linkname: "l", Mode: 0o7777, Uid: 1000}}}, false},
		"mode of a link":           {[]member{{Header: tar.Header{Typeflag: tar.TypeSymlink, Name: "l", Linkname: "OUT/secret", Mode: 0o7777, Uid: 1000}}}, false},
		"directory over a link":    {[]member{link(tar.TypeSymlink, "l", "OUT/etc"), dir("l", 0o777), file("l/passwd", "x")}, false},
		"link over a directory":    {[]member{dir("d", 0o755), file("d/f", "x"), link(tar.TypeSymlink, "d", "OUT/etc"), file("d/passwd", "x")}, true},
		"file over a directory":    {[]member{dir("d/e", 0o755), file("d/e/f", "x"), file("d", "x")}, false},
		"times through a swap":     {[]member{dir("d", 0o755), dir("d/etc", 0o700), link(tar.TypeSymlink, "d", "OUT")}, false},
		"whiteout through a link":  {[]member{link(tar.TypeSymlink, "l", "OUT"), file("l/.wh.secret", "")}, true},
		"opaque through a link":    {[]member{link(tar.TypeSymlink, "l", "OUT/etc"), file("l/.wh..wh..opq", "")}, true},
		"whiteout of dot dot":      {[]member{file("d/.wh...", "")}, true},
		"whiteout of dot":          {[]member{file("d/.wh..", "")}, true},
		"whiteout of nothing":      {[]member{file("d/.wh.", "")}, true},
		"root as a file":           {[]member{file(".", "x")}, true},
		"root as a link":           {[]member{link(tar.TypeSymlink, "/", "OUT")}, true},
		"file as a parent":         {[]member{file("f", "x"), file("f/g", "x")}, true},
		"device as a parent":       {[]member{{Header: tar.Header{Typeflag: tar.TypeChar, Name: "n", Devmajor: 1, Devminor: 3}}, file("n/x", "x")}, true},
		"write through a device":   {[]member{{Header: tar.Header{Typeflag: tar.TypeBlock, Name: "n", Mode: 0o666, Devmajor: 7, Devminor: 255}}, file("n", "x")}, false},
		"write through a FIFO":     {[]member{{Header: tar.Header{Typeflag: tar.TypeFifo, Name: "p", Mode: 0o666}}, file("p", "x")}, false},
		"name too long":            {[]member{file(strings.Repeat("n", 300), "x")}, true},
		"path too long":            {[]member{file(strings.Repeat("d/", 3000)+"f", "x")}, true},
		"owner out of range":       {[]member{{tar.Header{Typeflag: tar.TypeReg, Name: "f", Uid: 1 << 40}, ""}}, true},
		"owner means leave alone":  {[]member{{tar.Header{Typeflag: tar.TypeReg, Name: "f", Uid: 1<<32 - 1}, ""}}, true},
		"device out of range":      {[]member{{Header: tar.Header{Typeflag: tar.TypeChar, Name: "n", Devmajor: 1 << 20, Devminor: 3}}}, true},
		"empty link":               {[]member{link(tar.TypeSymlink, "l", "")}, true},
		"unknown type":             {[]member{{Header: tar.Header{Typeflag: 'Z', Name: "z"}}}, true},
		"double slashes and dots":  {[]member{file(".//a/./b//c", "x")}, false},
		"name of control bytes":    {[]member{file("a\x1b[2Jb\nc", "x")}, false},
	}
}
