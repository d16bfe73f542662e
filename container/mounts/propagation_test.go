package mounts

import (
	"strings"
	"testing"

	"github.com/moby/moby/api/types/mount"
)

func TestMountOf(t *testing.T) {
	const table = `1 0 8:1 / / rw - ext4 /dev/a rw
2 1 8:2 / /srv rw shared:3 - ext4 /dev/b rw
3 1 8:2 / /srv/with\040blank rw,noatime master:4 propagate_from:2 - ext4 /dev/b rw
4 2 8:3 / /srv rw - ext4 /dev/c rw
`
	for _, tc := range []struct{ source, point, tags string }{
		{"/etc", "/", ""},
		{"/srvother", "/", ""},
		{"/srv/x", "/srv", ""},
		{"/srv/with blank/x", `/srv/with\040blank`, "master:4 propagate_from:2"},
	} {
		if point, tags := mountOf(strings.NewReader(table), tc.source); point != tc.point || tags != tc.tags {
			t.Errorf("%s lies on %q with %q, want %q with %q", tc.source, point, tags, tc.point, tc.tags)
		}
	}
}

func TestPropagationIsChecked(t *testing.T) {
	// proc is a mount of its own wherever this runs.
	for _, p := range []mount.Propagation{"", "private", "rprivate"} {
		if err := CheckPropagation(&Mount{Type: mount.TypeBind, Source: "/proc", Propagation: p}); err != nil {
			t.Errorf("%q: %v", p, err)
		}
	}
	if err := CheckPropagation(&Mount{Type: mount.TypeBind, Source: "/absent-source", Propagation: "rshared"}); err == nil {
		t.Error("a source that does not exist has propagation")
	}
}
