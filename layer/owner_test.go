package layer

import (
	"archive/tar"
	"bytes"
	"log/slog"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestOwnersAndModes: neither the group of a set-gid directory nor the umask nor a
// default ACL may reach what is unpacked.
func TestOwnersAndModes(t *testing.T) {
	// A default ACL of user::rwx, group::r-x, other::---, as the kernel keeps it.
	acl := "\x02\x00\x00\x00" + "\x01\x00\x07\x00\xff\xff\xff\xff" + "\x04\x00\x05\x00\xff\xff\xff\xff" + "\x20\x00\x00\x00\xff\xff\xff\xff"
	type entry struct {
		name     string
		kind     byte
		mode     int64
		uid, gid int
		xattr    string
	}
	entries := []entry{
		{"d", tar.TypeDir, 0o2775, 0, 50, ""},
		{"d/root", tar.TypeReg, 0o644, 0, 0, ""},
		{"d/own", tar.TypeReg, 0o600, 7, 8, ""},
		{"d/sub", tar.TypeDir, 0o755, 0, 0, ""},
		{"d/dev", tar.TypeChar, 0o666, 0, 0, ""},
		{"plain", tar.TypeReg, 0o666, 0, 0, ""},
		{"none", tar.TypeReg, 0, 0, 0, ""},
		{"suid", tar.TypeReg, 0o4755, 1, 1, ""},
		{"sgid", tar.TypeReg, 0o2755, 0, 0, ""},
		{"acl", tar.TypeDir, 0o755, 0, 0, acl},
		{"acl/file", tar.TypeReg, 0o644, 0, 0, ""},
		{"acl/x", tar.TypeReg, 0o755, 0, 0, ""},
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Typeflag: e.kind, Mode: e.mode, Uid: e.uid, Gid: e.gid, Devmajor: 1, Devminor: 3}
		if e.xattr != "" {
			h.PAXRecords = map[string]string{paxXattr + "system.posix_acl_default": e.xattr}
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for _, mask := range []int{0, 0o22, 0o77} {
		old := unix.Umask(mask)
		root := t.TempDir()
		s, err := Open(root, slog.New(slog.DiscardHandler))
		if err == nil {
			_, err = s.Unpack(t.Context(), bytes.NewReader(buf.Bytes()), "")
		}
		unix.Umask(old)
		if err != nil {
			t.Fatal(err)
		}
		found, err := filepath.Glob(filepath.Join(root, "layers/sha256/*/fs"))
		if err != nil || len(found) != 1 {
			t.Fatal(found, err)
		}
		for _, e := range entries {
			var st unix.Stat_t
			if err := unix.Lstat(filepath.Join(found[0], e.name), &st); err != nil {
				t.Fatal(err)
			}
			if got := int64(st.Mode & modeBits); got != e.mode || int(st.Uid) != e.uid || int(st.Gid) != e.gid {
				t.Errorf("umask %o: %s has mode %o of %d:%d, want %o of %d:%d", mask, e.name, got, st.Uid, st.Gid, e.mode, e.uid, e.gid)
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
