package archive

import (
	"errors"
	"io"
	"os"
	"strings"

	"github.com/klauspost/compress/gzip"

	"github.com/sampan-containers/sampan/box/tool"
)

func gzipTool(c *tool.Call) int {
	o, status, ok := c.Options("cdkfnqtv123456789 c=stdout d=decompress k=keep f=force")
	if !ok {
		return status
	}
	z := &zipper{c: c, decompress: o.Has('d') || c.Name != "gzip", level: gzip.DefaultCompression, keep: o.Has('k'), force: o.Has('f')}
	for level := 1; level <= 9; level++ {
		if o.Has(byte('0' + level)) {
			z.level = level
		}
	}
	if len(o.Args) == 0 || o.Has('c') || c.Name == "zcat" || o.Has('t') {
		out := io.Writer(c.Out)
		if o.Has('t') {
			z.decompress, out = true, io.Discard
		}
		c.Inputs(o.Args, func(_ string, r io.Reader) error { return z.pour(out, r) })
		return c.Status()
	}
	for _, name := range o.Args {
		if err := z.file(name); err != nil {
			c.FailPath(name, err)
		}
	}
	return c.Status()
}

type zipper struct {
	c                       *tool.Call
	decompress, keep, force bool
	level                   int
}

func (z *zipper) pour(w io.Writer, r io.Reader) error {
	if z.decompress {
		g, err := gzip.NewReader(r)
		if err != nil {
			return err
		}
		_, err = io.Copy(w, g)
		return err
	}
	g, err := gzip.NewWriterLevel(w, z.level)
	if err != nil {
		return err
	}
	if _, err := io.Copy(g, r); err != nil {
		return err
	}
	return g.Close()
}

func (z *zipper) file(name string) error {
	target := name + ".gz"
	if z.decompress {
		var found bool
		if target, found = strings.CutSuffix(name, ".gz"); !found {
			if target, found = strings.CutSuffix(name, ".tgz"); !found {
				return errors.New("unknown suffix, ignored")
			}
			target += ".tar"
		}
	}
	in, err := os.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	st, err := in.Stat()
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return errors.New("is not a regular file, ignored")
	}
	flags := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if z.force {
		flags = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	out, err := os.OpenFile(target, flags, st.Mode().Perm())
	if err != nil {
		return err
	}
	err = z.pour(out, in)
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		os.Remove(target)
		return err
	}
	if err := os.Chtimes(target, st.ModTime(), st.ModTime()); err != nil {
		return err
	}
	if z.keep {
		return nil
	}
	return os.Remove(name)
}
