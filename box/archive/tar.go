package archive

import (
	"archive/tar"
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/klauspost/compress/gzip"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/box/tool"
)

type archiver struct {
	c       *tool.Call
	o       *tool.Options
	root    *os.Root
	strip   int
	exclude []string
	linked  map[[2]uint64]string // inode → the name it was first stored under
}

func tarTool(c *tool.Call) int {
	if len(c.Args) > 0 && !strings.HasPrefix(c.Args[0], "-") {
		c.Args = oldStyle(c.Args)
	}
	o, status, ok := c.Options("cxtzvf:C:pkhoOX:S: c=create x=extract t=list z=gzip v=verbose f=file C=directory p=preserve-permissions O=to-stdout X=exclude S=strip-components")
	if !ok {
		return status
	}
	strip, err := strconv.Atoi(o.Value('S', "0"))
	if err != nil || strip < 0 {
		return c.Misused("--strip-components needs a number")
	}
	a := &archiver{c: c, o: o, strip: strip, exclude: o.Values('X'), linked: map[[2]uint64]string{}}
	dir := o.Value('C', ".")
	switch {
	case o.Has('c'):
		err = a.create(dir)
	case o.Has('x'), o.Has('t'):
		err = a.read(dir)
	default:
		return c.Misused("needs one of c, x and t")
	}
	if err != nil {
		return c.Fail("%s", err)
	}
	return c.Status()
}

// oldStyle turns `xzf FILE` into `-x -z -f FILE`.
func oldStyle(args []string) []string {
	var out []string
	rest := args[1:]
	for _, letter := range args[0] {
		out = append(out, "-"+string(letter))
		if (letter == 'f' || letter == 'C' || letter == 'X') && len(rest) > 0 {
			out = append(out, rest[0])
			rest = rest[1:]
		}
	}
	return append(out, rest...)
}

func (a *archiver) skips(name string) bool {
	for _, pattern := range a.exclude {
		if ok, err := path.Match(pattern, name); ok && err == nil {
			return true
		}
		if ok, err := path.Match(pattern, path.Base(name)); ok && err == nil {
			return true
		}
	}
	return false
}

func (a *archiver) create(dir string) (err error) {
	var w io.Writer = a.c.Out
	name := a.o.Value('f', "-")
	if name != "-" {
		f, err := os.Create(name)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		w = f
	}
	if a.o.Has('z') {
		g := gzip.NewWriter(w)
		defer func() { err = errors.Join(err, g.Close()) }()
		w = g
	}
	if len(a.o.Args) == 0 {
		return errors.New("needs a file to put into the archive")
	}
	if err := os.Chdir(dir); err != nil {
		return err
	}
	t := tar.NewWriter(w)
	for _, operand := range a.o.Args {
		err := filepath.WalkDir(operand, func(p string, e fs.DirEntry, err error) error {
			if err == nil && a.skips(strings.TrimPrefix(p, "./")) {
				if e.IsDir() {
					return fs.SkipDir
				}
				return nil
			}
			if err == nil {
				err = a.add(t, p, e)
			}
			var missing *fs.PathError
			if errors.As(err, &missing) {
				a.c.FailPath(p, err)
				return nil
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return t.Close()
}

func (a *archiver) add(t *tar.Writer, p string, e fs.DirEntry) error {
	info, err := e.Info()
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeSocket != 0 {
		a.c.Fail("%s: socket ignored", p)
		return nil
	}
	target := ""
	if info.Mode()&fs.ModeSymlink != 0 {
		if target, err = os.Readlink(p); err != nil {
			return err
		}
	}
	h, err := tar.FileInfoHeader(info, target)
	if err != nil {
		return err
	}
	h.Name = strings.TrimLeft(p, "/")
	if h.Name == "" {
		h.Name = "."
	}
	if info.IsDir() {
		h.Name = strings.TrimSuffix(h.Name, "/") + "/"
	}
	st := info.Sys().(*syscall.Stat_t)
	if key := [2]uint64{st.Dev, st.Ino}; info.Mode().IsRegular() && st.Nlink > 1 {
		if first, ok := a.linked[key]; ok {
			h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
		} else {
			a.linked[key] = h.Name
		}
	}
	if a.o.Has('v') {
		fmt.Fprintln(a.c.Err, h.Name)
	}
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	if h.Typeflag != tar.TypeReg {
		return nil
	}
	f, err := os.Open(p)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.CopyN(t, f, h.Size)
	return err
}

func (a *archiver) read(dir string) error {
	r := a.c.In
	if name := a.o.Value('f', "-"); name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		r = f
	}
	b := bufio.NewReader(r)
	if magic, err := b.Peek(2); err == nil && magic[0] == 0x1f && magic[1] == 0x8b {
		g, err := gzip.NewReader(b)
		if err != nil {
			return err
		}
		r = g
	} else {
		r = b
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	a.root = root
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("this is no tar archive, or it is damaged: %w", err)
		}
		if err := a.entry(t, h); err != nil {
			a.c.Fail("%s: %s", h.Name, tool.Reason(err))
		}
	}
}

func (a *archiver) wanted(name string) bool {
	if a.skips(name) {
		return false
	}
	if len(a.o.Args) == 0 {
		return true
	}
	for _, w := range a.o.Args {
		w = path.Clean(w)
		if clean := path.Clean(name); clean == w || strings.HasPrefix(clean, w+"/") {
			return true
		}
	}
	return false
}

func (a *archiver) entry(t *tar.Reader, h *tar.Header) error {
	if h.Typeflag == tar.TypeXGlobalHeader || !a.wanted(h.Name) {
		return nil
	}
	list := a.c.Out
	if a.o.Has('t') {
		if a.o.Has('v') {
			fmt.Fprintf(list, "%s %d/%d %9d %s ", h.FileInfo().Mode(), h.Uid, h.Gid, h.Size, h.ModTime.Format("2006-01-02 15:04"))
		}
		fmt.Fprintln(list, h.Name)
		return nil
	}
	if a.o.Has('O') {
		_, err := io.Copy(a.c.Out, t)
		return err
	}
	parts := strings.Split(path.Clean(strings.TrimLeft(h.Name, "/")), "/")
	if len(parts) <= a.strip {
		return nil
	}
	name := path.Join(parts[a.strip:]...)
	if a.o.Has('v') {
		fmt.Fprintln(list, h.Name)
	}
	return a.extract(t, h, name)
}

// extract works through os.Root: no name and no link of the archive leads out.
func (a *archiver) extract(t *tar.Reader, h *tar.Header, name string) error {
	if name == "." {
		return nil
	}
	if dir := path.Dir(name); dir != "." {
		if err := a.root.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	mode := fs.FileMode(h.Mode & 0o777)
	if h.Typeflag != tar.TypeDir {
		if err := a.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	var err error
	switch h.Typeflag {
	case tar.TypeDir:
		if err = a.root.Mkdir(name, mode|0o700); errors.Is(err, fs.ErrExist) {
			err = nil
		}
	case tar.TypeSymlink:
		err = a.root.Symlink(h.Linkname, name)
	case tar.TypeLink:
		target := path.Clean(strings.TrimLeft(h.Linkname, "/"))
		if parts := strings.Split(target, "/"); a.strip > 0 && len(parts) > a.strip {
			target = path.Join(parts[a.strip:]...)
		}
		return a.root.Link(target, name)
	case tar.TypeReg:
		err = a.file(t, name, mode)
	case tar.TypeFifo, tar.TypeChar, tar.TypeBlock:
		return a.node(h, name)
	default:
		return fmt.Errorf("unknown type %q", h.Typeflag)
	}
	if err != nil {
		return err
	}
	if os.Geteuid() == 0 {
		if err := a.root.Lchown(name, h.Uid, h.Gid); err != nil {
			return err
		}
	}
	if h.Typeflag == tar.TypeSymlink {
		return nil
	}
	if err := a.root.Chmod(name, h.FileInfo().Mode()&(fs.ModePerm|fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky)); err != nil {
		return err
	}
	return a.root.Chtimes(name, h.ModTime, h.ModTime)
}

func (a *archiver) file(r io.Reader, name string, mode fs.FileMode) error {
	f, err := a.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, r); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

func (a *archiver) node(h *tar.Header, name string) error {
	dir, err := a.root.Open(path.Dir(name))
	if err != nil {
		return err
	}
	defer dir.Close()
	kind := map[byte]uint32{tar.TypeFifo: unix.S_IFIFO, tar.TypeChar: unix.S_IFCHR, tar.TypeBlock: unix.S_IFBLK}[h.Typeflag]
	return unix.Mknodat(int(dir.Fd()), path.Base(name), kind|uint32(h.Mode&0o777), int(unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor))))
}
