package cp

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"path"
	"strings"

	"github.com/sampan-containers/sampan/cli/client"
)

// between copies from one container to another. The archive goes through this client,
// which changes names in it and nothing else.
func (j *copyJob) between(ctx context.Context, from, src, to, given string) error {
	dst, err := j.destination(ctx, to, given)
	if err != nil {
		return err
	}
	src = j.source(ctx, from, src)
	got, err := j.conn.CopyFromContainer(ctx, from, client.CopyFromContainerOptions{SourcePath: src})
	if err != nil {
		return err
	}
	defer got.Content.Close()
	dir, newName, err := dst.place(got.Stat.Mode.IsDir())
	if err != nil {
		return err
	}
	name := path.Base(path.Clean("/" + src))
	if name == "/" || isContent(src) {
		name = "."
	}
	if newName == "" {
		newName = name
	}
	r, w := io.Pipe()
	defer r.Close()
	packed := make(chan error, 1)
	go func() {
		err := rename(w, got.Content, name, newName)
		w.CloseWithError(err)
		packed <- err
	}()
	content := &counted{Reader: r}
	err = j.send(ctx, to, dir, content)
	r.Close()
	if local := <-packed; err == nil || local != nil && local != io.ErrClosedPipe {
		err = local
	}
	if err == nil {
		j.done(content.n, to+":"+given)
	}
	return err
}

// isContent tells that not a directory is meant, but what is in it.
func isContent(p string) bool { return p == "." || strings.HasSuffix(p, "/.") }

// rename copies an archive whose entries are name, or lie below it, and calls that to.
// The other side checks names: this one only has to change them.
func rename(w io.Writer, r io.Reader, name, to string) error {
	in, out := tar.NewReader(r), tar.NewWriter(w)
	for {
		h, err := in.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if h.Name, err = renamed(h.Name, name, to); err != nil {
			return err
		}
		if h.Typeflag == tar.TypeLink {
			if h.Linkname, err = renamed(h.Linkname, name, to); err != nil {
				return err
			}
		}
		if err := out.WriteHeader(h); err != nil {
			return err
		}
		if _, err := io.Copy(out, in); err != nil {
			return err
		}
	}
	return out.Close()
}

func renamed(entry, name, to string) (string, error) {
	clean := path.Clean(entry)
	rest, below := strings.CutPrefix(clean, name+"/")
	switch {
	case name == ".":
		rest = clean
	case clean == name:
		rest = "."
	case !below:
		return "", errors.New("the daemon sent " + entry + ", which was not asked for")
	}
	out := path.Join(to, rest)
	if strings.HasSuffix(entry, "/") {
		out += "/"
	}
	return out, nil
}
