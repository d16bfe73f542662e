package mountapi

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// 128 layers, by descriptor and, as on kernels between 6.7 and 6.13, by path: long
// ones too, which a mount option has no room for.
func TestOverlayOfManyLayers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounts need root")
	}
	for _, byPath := range []bool{false, true} {
		for _, length := range []int{10, 230} {
			t.Run(fmt.Sprintf("by path %v, names of %d bytes", byPath, length), func(t *testing.T) {
				dir := t.TempDir()
				o := Overlay{Upper: filepath.Join(dir, "upper"), Work: filepath.Join(dir, "work"), byPath: byPath}
				for i := range 128 {
					layer := filepath.Join(dir, fmt.Sprintf("%0*d", length, i))
					if err := errors.Join(os.Mkdir(layer, 0o755), os.WriteFile(filepath.Join(layer, fmt.Sprint(i)), nil, 0o644)); err != nil {
						t.Fatal(err)
					}
					o.Lower = append(o.Lower, layer)
				}
				if err := errors.Join(os.Mkdir(o.Upper, 0o755), os.Mkdir(o.Work, 0o755)); err != nil {
					t.Fatal(err)
				}
				f, err := o.Mount()
				if errors.Is(err, ErrNoAppend) {
					t.Skip("this kernel's overlay has no lowerdir+ (package rootfs tests what is done then)")
				}
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				list, err := os.ReadDir(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
				if err != nil || len(list) != 128 {
					t.Errorf("%d of 128 layers are there: %v", len(list), err)
				}
				o.Lower[5] = filepath.Join(dir, strings.Repeat("x", length))
				if f, err := o.Mount(); !errors.Is(err, os.ErrNotExist) {
					f.Close()
					t.Errorf("a missing layer: %v", err)
				}
			})
		}
	}
}
