package client

import "testing"

func TestParseReference(t *testing.T) {
	for _, tt := range []struct{ in, name, tag, digest string }{
		{"busybox", "docker.io/library/busybox", "", ""},
		{"busybox:1", "docker.io/library/busybox", "1", ""},
		{"index.docker.io/a/b:1@sha256:aa", "docker.io/a/b", "1", "sha256:aa"},
		{"localhost/a", "localhost/a", "", ""},
		{"reg:5000/a", "reg:5000/a", "", ""},
		{"reg:5000/a:b", "reg:5000/a", "b", ""},
		{"a:b:c", "docker.io/library/a:b:c", "", ""},
		{"reg:5000/a:b:c", "reg:5000/a:b:c", "", ""},
	} {
		t.Run(tt.in, func(t *testing.T) {
			if r := ParseReference(tt.in); r.Name() != tt.name || r.Tag != tt.tag || r.Digest != tt.digest {
				t.Errorf("got %q, %q, %q", r.Name(), r.Tag, r.Digest)
			}
		})
	}
}
