package cp

import (
	"archive/tar"
	"context"
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

// localSource is what is copied into a container.
type localSource struct {
	dir, at string // the tree is at, below dir
	name    string // what it is called
	isDir   bool
}

// findSource looks at a local path with the rules of cp.
func findSource(given string, follow bool) (*localSource, error) {
	abs, err := filepath.Abs(given)
	if err != nil {
		return nil, err
	}
	full := keepEnd(abs, given)
	s := &localSource{name: path.Base(abs)}
	if strings.HasSuffix(full, "/.") {
		s.name = "."
	}
	if follow || isDirPath(full) {
		real, err := filepath.EvalSymlinks(full)
		if err != nil {
			return nil, err
		}
		abs = real
	}
	st, err := os.Lstat(abs)
	if err != nil {
		return nil, err
	}
	s.isDir = st.IsDir()
	if isDirPath(full) && !s.isDir {
		return nil, &fs.PathError{Op: "lstat", Path: given, Err: fmt.Errorf("not a directory")}
	}
	s.dir, s.at = filepath.Dir(abs), filepath.Base(abs)
	if abs == "/" {
		s.dir, s.at = "/", "."
	}
	return s, nil
}

// destination is a place in a container, or on this machine.
type destination struct {
	path          string
	exists, isDir bool
}

// place tells where a source goes: the directory and the name in it; an empty name
// keeps the source's own.
func (d *destination) place(sourceIsDir bool) (dir, name string, err error) {
	switch {
	case d.exists && d.isDir:
		return d.path, "", nil
	case d.exists && sourceIsDir:
		return "", "", fmt.Errorf("cannot copy directory: %s is there, and is none", d.path)
	case !d.exists && !sourceIsDir && isDirPath(d.path):
		return "", "", fmt.Errorf("no such directory: %s", d.path)
	}
	clean := path.Clean(d.path)
	return path.Dir(clean), path.Base(clean), nil
}

// in copies into a container.
func (j *copyJob) in(ctx context.Context, src, container, given string) error {
	dst, err := j.destination(ctx, container, given)
	if err != nil {
		return err
	}
	if src == "-" {
		if !dst.isDir {
			return fmt.Errorf("destination \"%s:%s\" must be a directory", container, given)
		}
		if err := j.conn.Settle(ctx); err != nil {
			return err
		}
		return j.send(ctx, container, dst.path, j.a.In)
	}
	source, err := findSource(src, j.followLink)
	if err != nil {
		return err
	}
	dir, name, err := dst.place(source.isDir)
	if err != nil {
		return err
	}
	if name == "" {
		name = source.name
	}
	root, err := inroot.Open(source.dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := j.conn.Settle(ctx); err != nil {
		return err
	}
	r, w := io.Pipe()
	defer r.Close()
	packed := make(chan error, 1)
	go func() {
		t := tar.NewWriter(w)
		err := archive.Pack(ctx, t, root, source.at, name, archive.PackOptions{})
		if err == nil {
			err = t.Close()
		}
		w.CloseWithError(err)
		packed <- err
	}()
	content := &counted{Reader: r}
	err = j.send(ctx, container, dir, content)
	r.Close()
	if local := <-packed; err == nil || local != nil && local != io.ErrClosedPipe {
		err = local
	}
	if err == nil {
		j.done(content.n, container+":"+given)
	}
	return err
}

func (j *copyJob) send(ctx context.Context, container, dir string, content io.Reader) error {
	_, err := j.conn.CopyToContainer(ctx, container, client.CopyToContainerOptions{DestinationPath: dir, Content: io.MultiReader(content), CopyUIDGID: j.archive})
	return err
}

// destination asks for a path in a container; a link is followed once, and one
// that leads nowhere is a name to be made.
func (j *copyJob) destination(ctx context.Context, container, given string) (*destination, error) {
	d := &destination{path: keepEnd(path.Clean("/"+given), given)}
	got, err := j.conn.ContainerStatPath(ctx, container, client.ContainerStatPathOptions{Path: d.path})
	if err == nil && got.Stat.Mode&fs.ModeSymlink != 0 {
		link := got.Stat.LinkTarget
		if !path.IsAbs(link) {
			link = path.Join(path.Dir(path.Clean(d.path)), link)
		}
		d.path = link
		got, err = j.conn.ContainerStatPath(ctx, container, client.ContainerStatPathOptions{Path: d.path})
	}
	if err != nil {
		return d, nil // the copy itself tells what is wrong
	}
	switch {
	case got.Stat.Mode&fs.ModeDevice != 0:
		return nil, fmt.Errorf("destination \"%s:%s\" must be a directory or a regular file: %w", container, given, errDevice)
	case got.Stat.Mode&fs.ModeIrregular != 0:
		return nil, fmt.Errorf("destination \"%s:%s\" must be a directory or a regular file: %w", container, given, errIrregular)
	}
	d.exists, d.isDir = true, got.Stat.Mode.IsDir()
	return d, nil
}
