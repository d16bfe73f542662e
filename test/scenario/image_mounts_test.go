package scenario

import (
	"strings"
	"testing"
)

// An image is mounted as it is, or a directory of it: nobody can write to it, it stays as
// long as a container mounts it, and links of it lead nowhere else.
func TestImageMounts(t *testing.T) {
	d := start(t)
	d.Sampan("run", "--name", "maker", "--network", "none", busybox, "sh", "-c",
		"mkdir /dir && echo one >/dir/file && rm -rf /home && ln -s / /dir/up && ln -s ../../.. /out").Must(t)
	d.Sampan("commit", "maker", "second").Must(t)
	d.Sampan("rm", "maker").Must(t)
	run := func(mount, script string) (string, int) {
		r := d.Sampan("run", "--rm", "--network", "none", "--mount", "type=image,"+mount, busybox, "sh", "-c", script)
		return strings.TrimSpace(r.Out + r.Err), r.Code
	}
	for _, tt := range []struct {
		name, mount, script, want string
		code                      int
	}{
		{"of two layers", "source=second,target=/img", "cat /img/dir/file", "one", 0},
		{"of one layer", "source=" + busybox + ",target=/img", "test -e /img/bin/sh && echo there", "there", 0},
		{"what was removed", "source=second,target=/img", "test -e /img/home || echo gone", "gone", 0},
		{"writing", "source=second,target=/img", "echo x >/img/dir/file", "Read-only file system", 1},
		{"a directory", "source=second,target=/img,image-subpath=dir", "cat /img/file", "one", 0},
		{"writing into a directory", "source=second,target=/img,image-subpath=dir", "touch /img/x", "Read-only file system", 1},
		{"a link of the image", "source=second,target=/img,image-subpath=out", "cat /img/dir/file", "one", 0},
		{"a directory that is not there", "source=second,target=/img,image-subpath=nowhere", "true", "cannot access path nowhere of image second", 125},
		{"a way out", "source=second,target=/img,image-subpath=../x", "true", "relative path within the image", 125},
		{"an unknown image", "source=nothing,target=/img", "true", "No such image: nothing", 125},
		{"no image", "target=/img", "true", "Source must not be empty", 125},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, code := run(tt.mount, tt.script)
			if code != tt.code || !strings.Contains(out, tt.want) {
				t.Errorf("%d %q, want %d %q", code, out, tt.code, tt.want)
			}
		})
	}

	d.Sampan("create", "--name", "user", "--network", "none", "--mount", "type=image,source=second,target=/img", busybox, "cat", "/img/dir/file").Must(t)
	if r := d.Sampan("rmi", "second"); r.Code == 0 {
		t.Error("an image that a container mounts was removed")
	}
	if got := d.Sampan("start", "-a", "user").Must(t); strings.TrimSpace(got) != "one" {
		t.Errorf("started later: %q", got)
	}
	if got := d.Sampan("inspect", "-f", "{{range .Mounts}}{{.Type}} {{.Name}} {{.Destination}} {{.RW}}{{end}}", "user").Must(t); strings.TrimSpace(got) != "image second /img false" {
		t.Errorf("inspect: %q", got)
	}
	d.Sampan("rm", "user").Must(t)
	d.Sampan("rmi", "second").Must(t)
}
