package checkpoint

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestClearDeathSignal(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "core-1.img")
	image := func(body ...byte) []byte {
		return append([]byte{1, 2, 3, 4, 5, 6, 7, 8, byte(len(body)), 0, 0, 0}, body...)
	}
	for what, tc := range map[string]struct{ before, after []byte }{
		"set":            {image(8, 1, 0x12, 2, 8, 7, 0x2a, 4, 8, 5, 0x40, 9), image(8, 1, 0x12, 2, 8, 7, 0x2a, 4, 8, 5, 0x40, 0)},
		"of two bytes":   {image(0x2a, 3, 0x40, 0x89, 0x01), image(0x2a, 3, 0x40, 0x80, 0)},
		"none":           {image(0x2a, 2, 8, 5), image(0x2a, 2, 8, 5)},
		"elsewhere":      {image(0x12, 2, 0x40, 9), image(0x12, 2, 0x40, 9)},
		"no core":        {image(8, 1), image(8, 1)},
		"too long":       {image(0x2a, 9, 0x40, 9), nil},
		"no protobuf":    {image(0x2f, 1), nil},
		"cut off":        {image(0x2a, 2, 8, 5)[:13], nil},
		"too short":      {[]byte{1, 2, 3}, nil},
		"a bare key":     {image(0x2a), nil},
		"a long integer": {image(0x2a, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80), nil},
	} {
		t.Run(what, func(t *testing.T) {
			if err := os.WriteFile(name, tc.before, 0o600); err != nil {
				t.Fatal(err)
			}
			err := clearDeathSignal(dir, 1)
			got, _ := os.ReadFile(name)
			if tc.after == nil {
				if err == nil || !bytes.Equal(got, tc.before) {
					t.Errorf("%v, %x", err, got)
				}
			} else if err != nil || !bytes.Equal(got, tc.after) {
				t.Errorf("%v, %x, want %x", err, got, tc.after)
			}
		})
	}
	if err := clearDeathSignal(dir, 2); err == nil {
		t.Error("no image, no error")
	}
}
