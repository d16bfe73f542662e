package files

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/box/tool"
)

type unixStat = syscall.Stat_t

func mkdir(c *tool.Call) int {
	o, status, ok := c.Options("pvm: p=parents v=verbose m=mode")
	if !ok {
		return status
	}
	if len(o.Args) == 0 {
		return c.Misused("needs a directory")
	}
	mode := os.FileMode(0o777)
	exact := o.Value('m', "")
	if exact != "" {
		m, err := strconv.ParseUint(exact, 8, 12)
		if err != nil {
			return c.Misused("%q is not an octal mode", exact)
		}
		mode = os.FileMode(m & 0o777)
	}
	for _, path := range o.Args {
		var err error
		if o.Has('p') {
			err = os.MkdirAll(path, mode)
		} else {
			err = os.Mkdir(path, mode)
		}
		if err == nil && exact != "" {
			m, _ := strconv.ParseUint(exact, 8, 12) // was parsed above
			err = unix.Chmod(path, uint32(m))
		}
		if err != nil {
			c.Fail("cannot create directory %s: %s", path, tool.Reason(err))
		} else if o.Has('v') {
			fmt.Fprintf(c.Out, "created directory '%s'\n", path)
		}
	}
	return c.Status()
}

func rmdir(c *tool.Call) int {
	o, status, ok := c.Options("p p=parents")
	if !ok {
		return status
	}
	for _, path := range o.Args {
		for path = filepath.Clean(path); ; path = filepath.Dir(path) {
			if err := unix.Rmdir(path); err != nil {
				c.FailPath(path, err)
				break
			}
			if !o.Has('p') || filepath.Dir(path) == "." || filepath.Dir(path) == "/" {
				break
			}
		}
	}
	return c.Status()
}

func ln(c *tool.Call) int {
	o, status, ok := c.Options("sfnv s=symbolic f=force n=no-dereference v=verbose")
	if !ok {
		return status
	}
	args := o.Args
	if len(args) == 1 {
		args = append(args, filepath.Base(args[0]))
	}
	if len(args) < 2 {
		return c.Misused("needs a target and a link")
	}
	last := args[len(args)-1]
	into := isDir(last)
	if st, err := os.Lstat(last); err == nil && st.Mode()&os.ModeSymlink != 0 && o.Has('n') {
		into = false
	}
	if len(args) > 2 && !into {
		return c.Fail("%s: is not a directory", last)
	}
	for _, target := range args[:len(args)-1] {
		link := last
		if into {
			link = filepath.Join(last, filepath.Base(target))
		}
		if o.Has('f') {
			if err := os.Remove(link); err != nil && !errors.Is(err, os.ErrNotExist) {
				c.FailPath(link, err)
				continue
			}
		}
		make := os.Link
		if o.Has('s') {
			make = os.Symlink
		}
		if err := make(target, link); err != nil {
			c.Fail("cannot link %s to %s: %s", link, target, tool.Reason(err))
		}
	}
	return c.Status()
}

func basename(c *tool.Call) int {
	if len(c.Args) < 1 || len(c.Args) > 2 {
		return c.Misused("needs a path")
	}
	name := filepath.Base(c.Args[0])
	if len(c.Args) == 2 && name != c.Args[1] {
		name = strings.TrimSuffix(name, c.Args[1])
	}
	fmt.Fprintln(c.Out, name)
	return tool.OK
}

func dirname(c *tool.Call) int {
	if len(c.Args) == 0 {
		return c.Misused("needs a path")
	}
	for _, path := range c.Args {
		trimmed := strings.TrimRight(path, "/")
		if trimmed == "" && path != "" {
			trimmed = "/"
		}
		fmt.Fprintln(c.Out, filepath.Dir(trimmed))
	}
	return tool.OK
}

func readlink(c *tool.Call) int {
	o, status, ok := c.Options("fn f=canonicalize n=no-newline")
	if !ok {
		return status
	}
	if len(o.Args) == 0 {
		return c.Misused("needs a path")
	}
	for _, path := range o.Args {
		read := os.Readlink
		if o.Has('f') {
			read = canonical
		}
		target, err := read(path)
		if err != nil {
			return tool.Failed // silent, as everywhere
		}
		fmt.Fprint(c.Out, target)
		if !o.Has('n') {
			fmt.Fprintln(c.Out)
		}
	}
	return tool.OK
}

// canonical resolves links; the last component need not exist.
func canonical(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	real, err := filepath.EvalSymlinks(abs)
	if !errors.Is(err, os.ErrNotExist) {
		return real, err
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(abs))
	return filepath.Join(dir, filepath.Base(abs)), err
}

func realpath(c *tool.Call) int {
	o, status, ok := c.Options("e")
	if !ok {
		return status
	}
	for _, path := range o.Args {
		real, err := canonical(path)
		if err != nil {
			c.FailPath(path, err)
			continue
		}
		fmt.Fprintln(c.Out, real)
	}
	return c.Status()
}

func pwd(c *tool.Call) int {
	dir, err := os.Getwd()
	if err != nil {
		return c.Fail("%s", tool.Reason(err))
	}
	fmt.Fprintln(c.Out, dir)
	return tool.OK
}

func mktemp(c *tool.Call) int {
	o, status, ok := c.Options("dp:utq")
	if !ok {
		return status
	}
	dir, template := o.Value('p', ""), "tmp.XXXXXXXXXX"
	if len(o.Args) > 0 {
		template = o.Args[0]
	} else if dir == "" {
		dir = os.TempDir()
	}
	stem := strings.TrimRight(template, "X")
	n := len(template) - len(stem)
	if n < 3 {
		return c.Misused("the template %q must end in at least three X", template)
	}
	const attempts = 100
	for range attempts {
		path := filepath.Join(dir, stem+rand.Text()[:min(n, 26)])
		var err error
		if o.Has('d') {
			err = os.Mkdir(path, 0o700)
		} else {
			var f *os.File
			if f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err == nil {
				err = f.Close()
			}
		}
		if errors.Is(err, os.ErrExist) {
			continue
		}
		if err != nil {
			return c.FailPath(path, err)
		}
		fmt.Fprintln(c.Out, path)
		return tool.OK
	}
	return c.Fail("no free name for %s", template)
}

func mkfifo(c *tool.Call) int {
	o, status, ok := c.Options("m: m=mode")
	if !ok {
		return status
	}
	mode, err := strconv.ParseUint(o.Value('m', "666"), 8, 12)
	if err != nil {
		return c.Misused("%q is not an octal mode", o.Value('m', ""))
	}
	for _, path := range o.Args {
		if err := unix.Mkfifo(path, uint32(mode)); err != nil {
			c.FailPath(path, err)
		}
	}
	return c.Status()
}

func truncate(c *tool.Call) int {
	o, status, ok := c.Options("s:c s=size c=no-create")
	if !ok {
		return status
	}
	size, err := parseSize(o.Value('s', ""))
	if err != nil || len(o.Args) == 0 {
		return c.Misused("needs a size and a file")
	}
	for _, path := range o.Args {
		flags := os.O_WRONLY | os.O_CREATE
		if o.Has('c') {
			flags = os.O_WRONLY
		}
		f, err := os.OpenFile(path, flags, 0o666)
		if err == nil {
			err = errors.Join(f.Truncate(size), f.Close())
		}
		if err != nil && !(o.Has('c') && errors.Is(err, os.ErrNotExist)) {
			c.FailPath(path, err)
		}
	}
	return c.Status()
}

// parseSize reads 10, 4k, 1M, 2GiB (powers of 1024) and 1kB, 1MB (of 1000).
func parseSize(text string) (int64, error) {
	digits := strings.TrimRight(text, "bBkKmMgGtTiIcw")
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a size, such as 512, 4k or 1M", text)
	}
	unit := strings.ToUpper(text[len(digits):])
	switch unit {
	case "", "C":
		return n, nil
	case "B":
		return n * 512, nil
	case "W":
		return n * 2, nil
	}
	base := int64(1024)
	if len(unit) == 2 && unit[1] == 'B' {
		base = 1000
	}
	power := strings.IndexByte("KMGT", unit[0])
	if power < 0 {
		return 0, fmt.Errorf("%q is not a size, such as 512, 4k or 1M", text)
	}
	for range power + 1 {
		if n > (1<<63-1)/base || n < -(1<<63-1)/base {
			return 0, fmt.Errorf("%q is too large", text)
		}
		n *= base
	}
	return n, nil
}

func syncAll(*tool.Call) int {
	unix.Sync()
	return tool.OK
}
