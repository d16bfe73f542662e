package volumes

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"

	"github.com/moby/moby/api/types/mount"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/container/mounts"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/image"
	"github.com/sampan-containers/sampan/kernel/inroot"
	"github.com/sampan-containers/sampan/kernel/mountapi"
)

// Images finds images; *image.Service is one.
type Images interface {
	Get(ctx context.Context, ref string) (*image.Image, error)
	Lowers(*image.Image) ([]string, error)
}

// FindImages finds the images that mounts ask for. Later the mounts go by what was
// found: another image of the name changes nothing for a container that is there.
func FindImages(ctx context.Context, images Images, list []mounts.Mount) error {
	for i := range list {
		m := &list[i]
		if m.Type != mount.TypeImage || m.Source != "" { // another container's has been found
			continue
		}
		img, err := images.Get(ctx, m.Name)
		if err != nil {
			return err
		}
		if m.Layers, err = images.Lowers(img); err != nil {
			return err
		}
		m.Source = img.ID.String()
	}
	return nil
}

// HasImage tells whether one of the mounts is of an image.
func HasImage(list []mounts.Mount, imageID string) bool {
	return slices.ContainsFunc(list, func(m mounts.Mount) bool { return m.Type == mount.TypeImage && m.Source == imageID })
}

// Layers are what an overlay of an image mount is made from: at least two directories,
// since overlay wants as many where there is none for changes. dir is the container's.
func Layers(m *mounts.Mount, dir string) ([]string, error) {
	if len(m.Layers) > 1 {
		return m.Layers, nil
	}
	list := slices.Clone(m.Layers)
	for _, name := range []string{"empty", "void"}[:2-len(m.Layers)] {
		dir := filepath.Join(dir, name)
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return nil, err
		}
		list = append(list, dir)
	}
	return list, nil
}

// openImage opens the root of an image, mounted nowhere, to mount a part of it.
func openImage(m *mounts.Mount) (*inroot.Root, error) {
	tree, err := mountapi.Overlay{Lower: m.Layers}.Mount()
	if err != nil {
		return nil, fault.New(fault.Unavailable, "mount image %s: %w", m.Name, err)
	}
	return inroot.From(tree), nil
}

// detach makes a mount of its own of a directory of an image, which goes with the
// descriptor of the whole otherwise.
func detach(m *mounts.Mount, dir *os.File) (*os.File, error) {
	defer dir.Close()
	fd, err := unix.OpenTree(int(dir.Fd()), "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
	if err != nil {
		return nil, fault.New(fault.NotImplemented, "image-subpath of image %s: %w (a part of a mount that lies nowhere can be mounted since Linux 6.15; mount the whole image)", m.Name, err)
	}
	return os.NewFile(uintptr(fd), m.Subpath), nil
}
