package files

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/box/tool"
)

func cat(c *tool.Call) int {
	o, status, ok := c.Options("nu n=number")
	if !ok {
		return status
	}
	line := 0
	c.Inputs(o.Args, func(_ string, r io.Reader) error {
		if o.Has('n') {
			return tool.Lines(r, func(text string) error {
				line++
				_, err := fmt.Fprintf(c.Out, "%6d\t%s\n", line, text)
				return err
			})
		}
		return pour(c, r)
	})
	return c.Status()
}

// pour copies and flushes after each read, so that what comes slowly from a
// terminal or a pipe is seen at once.
func pour(c *tool.Call, r io.Reader) error {
	buf := make([]byte, 64<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			if _, err := c.Out.Write(buf[:n]); err != nil {
				return err
			}
			if err := c.Out.Flush(); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// targets pairs each source with its target: inside the last operand if that
// is a directory.
func targets(c *tool.Call, args []string, f func(from, to string)) int {
	if len(args) < 2 {
		return c.Misused("needs a source and a target")
	}
	last := args[len(args)-1]
	into := isDir(last)
	if len(args) > 2 && !into {
		return c.Fail("%s: is not a directory", last)
	}
	for _, from := range args[:len(args)-1] {
		to := last
		if into {
			to = filepath.Join(last, filepath.Base(from))
		}
		f(from, to)
	}
	return c.Status()
}

type copier struct {
	c                         *tool.Call
	recursive, keep, noFollow bool
	force, keepExisting, loud bool
}

func cp(c *tool.Call) int {
	o, status, ok := c.Options("aRrpfndPLv a=archive R=recursive p=preserve f=force n=no-clobber v=verbose")
	if !ok {
		return status
	}
	all := o.Has('a')
	x := &copier{
		c: c, recursive: all || o.Has('R') || o.Has('r'), keep: all || o.Has('p'), force: o.Has('f'),
		keepExisting: o.Has('n'), loud: o.Has('v'),
	}
	x.noFollow = !o.Has('L') && (x.recursive || o.Has('P') || o.Has('d'))
	return targets(c, o.Args, func(from, to string) {
		if st, err := os.Stat(from); err == nil && st.IsDir() && !x.recursive {
			c.Fail("%s: is a directory (use -R)", from)
			return
		}
		x.copy(from, to)
	})
}

// copy reports its own errors and tells whether all went well.
func (x *copier) copy(from, to string) bool {
	stat := os.Stat
	if x.noFollow {
		stat = os.Lstat
	}
	st, err := stat(from)
	if err != nil {
		x.c.FailPath(from, err)
		return false
	}
	if there, err := os.Lstat(to); err == nil {
		if x.keepExisting && !there.IsDir() {
			return true
		}
		if target, err := os.Stat(to); err == nil && os.SameFile(st, target) {
			x.c.Fail("%s and %s are the same file", from, to)
			return false
		}
	}
	done := x.node(from, to, st)
	if done && x.loud {
		fmt.Fprintf(x.c.Out, "'%s' -> '%s'\n", from, to)
	}
	return done
}

func (x *copier) node(from, to string, st os.FileInfo) bool {
	switch mode := st.Mode(); {
	case mode.IsDir():
		return x.dir(from, to, st)
	case mode&os.ModeSymlink != 0:
		target, err := os.Readlink(from)
		if err == nil {
			os.Remove(to)
			err = os.Symlink(target, to)
		}
		return x.finish(to, st, err)
	case mode.IsRegular():
		return x.finish(to, st, x.file(from, to, st))
	default:
		sys := st.Sys().(*unixStat)
		return x.finish(to, st, unix.Mknod(to, sys.Mode, int(sys.Rdev)))
	}
}

func (x *copier) dir(from, to string, st os.FileInfo) bool {
	if inside(from, to) {
		x.c.Fail("cannot copy the directory %s into itself, %s", from, to)
		return false
	}
	if err := os.Mkdir(to, st.Mode().Perm()|0o700); err != nil && !(errors.Is(err, os.ErrExist) && isDir(to)) {
		x.c.FailPath(to, err)
		return false
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		x.c.FailPath(from, err)
		return false
	}
	good := true
	for _, e := range entries {
		good = x.copy(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())) && good
	}
	return x.finish(to, st, nil) && good
}

func inside(dir, path string) bool {
	a, errA := filepath.Abs(dir)
	b, errB := filepath.Abs(path)
	if errA != nil || errB != nil {
		return false
	}
	rel, err := filepath.Rel(a, b)
	return err == nil && filepath.IsLocal(rel)
}

func (x *copier) file(from, to string, st os.FileInfo) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, st.Mode().Perm())
	if err != nil && x.force && os.Remove(to) == nil {
		out, err = os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, st.Mode().Perm())
	}
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}

// finish sets what -p keeps.
func (x *copier) finish(to string, st os.FileInfo, err error) bool {
	if err == nil && x.keep {
		sys := st.Sys().(*unixStat)
		if err = os.Lchown(to, int(sys.Uid), int(sys.Gid)); errors.Is(err, os.ErrPermission) {
			err = nil // as cp does for a user who may not give files away
		}
		if st.Mode()&os.ModeSymlink == 0 {
			err = errors.Join(err, unix.Chmod(to, sys.Mode&0o7777))
		}
		times := []unix.Timespec{unix.Timespec(sys.Atim), unix.Timespec(sys.Mtim)}
		err = errors.Join(err, unix.UtimesNanoAt(unix.AT_FDCWD, to, times, unix.AT_SYMLINK_NOFOLLOW))
	}
	if err != nil {
		x.c.FailPath(to, err)
		return false
	}
	return true
}

func mv(c *tool.Call) int {
	o, status, ok := c.Options("fnv f=force n=no-clobber v=verbose")
	if !ok {
		return status
	}
	return targets(c, o.Args, func(from, to string) {
		if _, err := os.Lstat(to); err == nil && o.Has('n') {
			return
		}
		err := os.Rename(from, to)
		if errors.Is(err, unix.EXDEV) {
			x := &copier{c: c, recursive: true, keep: true, noFollow: true, force: true}
			if !x.copy(from, to) {
				return
			}
			err = os.RemoveAll(from)
		}
		if err != nil {
			c.Fail("cannot move %s to %s: %s", from, to, tool.Reason(err))
		} else if o.Has('v') {
			fmt.Fprintf(c.Out, "'%s' -> '%s'\n", from, to)
		}
	})
}

func rm(c *tool.Call) int {
	o, status, ok := c.Options("rRfiv r=recursive f=force v=verbose")
	if !ok {
		return status
	}
	if len(o.Args) == 0 && !o.Has('f') {
		return c.Misused("needs a path")
	}
	for _, path := range o.Args {
		if base := filepath.Base(path); base == "." || base == ".." || filepath.Clean(path) == "/" {
			c.Fail("refusing to remove %s", path)
			continue
		}
		st, err := os.Lstat(path)
		switch {
		case errors.Is(err, os.ErrNotExist) && o.Has('f'):
			continue
		case err != nil:
		case st.IsDir() && !o.Has('r') && !o.Has('R'):
			err = unix.EISDIR
		case o.Has('i') && !confirm(c, path):
			continue
		case st.IsDir():
			err = os.RemoveAll(path)
		default:
			err = os.Remove(path)
		}
		if err != nil {
			c.Fail("cannot remove %s: %s", path, tool.Reason(err))
		} else if o.Has('v') {
			fmt.Fprintf(c.Out, "removed '%s'\n", path)
		}
	}
	return c.Status()
}

func confirm(c *tool.Call, path string) bool {
	fmt.Fprintf(c.Err, "%s: remove '%s'? ", c.Name, path)
	answer := make([]byte, 1)
	yes, first := false, true
	for {
		if n, err := c.In.Read(answer); n == 0 || err != nil || answer[0] == '\n' {
			return yes
		}
		if first {
			yes, first = answer[0] == 'y' || answer[0] == 'Y', false
		}
	}
}

func touch(c *tool.Call) int {
	o, status, ok := c.Options("cd:r:am c=no-create d=date r=reference")
	if !ok {
		return status
	}
	at := time.Now()
	if ref := o.Value('r', ""); ref != "" {
		st, err := os.Stat(ref)
		if err != nil {
			return c.FailPath(ref, err)
		}
		at = st.ModTime()
	}
	if text := o.Value('d', ""); text != "" {
		var err error
		if at, err = parseTime(text); err != nil {
			return c.Misused("%s", err)
		}
	}
	for _, path := range o.Args {
		if !o.Has('c') {
			f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|unix.O_NONBLOCK, 0o666)
			if err == nil {
				f.Close()
			} else if _, gone := os.Stat(path); gone != nil {
				c.FailPath(path, err)
				continue
			}
		}
		if err := os.Chtimes(path, at, at); err != nil && !(o.Has('c') && errors.Is(err, os.ErrNotExist)) {
			c.FailPath(path, err)
		}
	}
	return c.Status()
}

func parseTime(text string) (time.Time, error) {
	if text == "now" {
		return time.Now(), nil
	}
	var seconds int64
	if n, err := fmt.Sscanf(text, "@%d", &seconds); err == nil && n == 1 {
		return time.Unix(seconds, 0), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a time, such as 2006-01-02 15:04:05 or @SECONDS", text)
}
