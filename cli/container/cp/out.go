package cp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/kernel/archive"
	"github.com/sampan-containers/sampan/kernel/inroot"
)

// out copies from a container. What the daemon sends is unpacked below the
// destination only, whatever links it contains: the daemon may be somebody else's.
func (j *copyJob) out(ctx context.Context, container, src, dst string) error {
	if dst != "-" {
		if err := checkOutput(dst); err != nil {
			return err
		}
	}
	name := path.Base(path.Clean("/" + src)) // what the copy is called
	src = j.source(ctx, container, src)
	got, err := j.conn.CopyFromContainer(ctx, container, client.CopyFromContainerOptions{SourcePath: src})
	if err != nil {
		return err
	}
	defer got.Content.Close()
	if dst == "-" {
		_, err := io.Copy(j.a.Out, got.Content)
		return err
	}
	to, err := localDestination(dst)
	if err != nil {
		return err
	}
	dir, newName, err := to.place(got.Stat.Mode.IsDir())
	if err != nil {
		return err
	}
	clean := path.Clean("/" + src)
	o := archive.UnpackOptions{NoOverwriteDirNonDir: true, UserXattrs: true, From: path.Base(clean), To: newName, KeepOwner: !j.archive || os.Geteuid() != 0}
	if clean == "/" || strings.HasSuffix(src, "/.") || src == "." {
		o.From = "."
		if newName == "" {
			o.To = "."
		}
	} else if newName == "" {
		o.To = name
	}
	root, err := inroot.Open(dir)
	if err != nil {
		return fmt.Errorf("invalid output path: %w", err)
	}
	defer root.Close()
	content := &counted{Reader: got.Content}
	if err := archive.Unpack(ctx, content, root, ".", o); err != nil {
		return err
	}
	j.done(content.n, dst)
	return nil
}

// source is the path to copy from a container: with --follow-link what a link leads to.
func (j *copyJob) source(ctx context.Context, container, src string) string {
	if !j.followLink {
		return src
	}
	got, err := j.conn.ContainerStatPath(ctx, container, client.ContainerStatPathOptions{Path: src})
	if err != nil || got.Stat.Mode&fs.ModeSymlink == 0 {
		return src
	}
	link := got.Stat.LinkTarget
	if !path.IsAbs(link) {
		link = path.Join(path.Dir(path.Clean("/"+src)), link)
	}
	return link
}

// checkOutput refuses a place where nothing can be made, before anything is sent.
func checkOutput(dst string) error {
	dir := filepath.Dir(filepath.Clean(dst))
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("invalid output path: directory %q does not exist", dir)
	}
	st, err := os.Stat(dst)
	if err != nil {
		return nil
	}
	if st.Mode()&fs.ModeDevice != 0 {
		return fmt.Errorf("invalid output path: %q must be a directory or a regular file: %w", dst, errDevice)
	}
	return nil
}

// localDestination looks at a path of this machine; links are the user's own and
// are followed, also one whose target is to be made.
func localDestination(given string) (*destination, error) {
	abs, err := filepath.Abs(given)
	if err != nil {
		return nil, err
	}
	const maxLinks = 40
	for range maxLinks {
		target, err := os.Readlink(abs)
		if err != nil {
			break
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(abs), target)
		}
		abs = target
	}
	d := &destination{path: keepEnd(abs, given)}
	if st, err := os.Stat(abs); err == nil {
		d.exists, d.isDir = true, st.IsDir()
	}
	return d, nil
}
