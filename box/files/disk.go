package files

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/box/tool"
)

const kib = 1024

func dd(c *tool.Call) int {
	d := struct {
		in, out, status, conv   string
		bs, count, skip, seekTo int64
	}{bs: 512, count: -1}
	for _, arg := range c.Args {
		key, value, _ := strings.Cut(arg, "=")
		var err error
		switch key {
		case "if":
			d.in = value
		case "of":
			d.out = value
		case "status":
			d.status = value
		case "conv":
			d.conv = value
		case "bs", "ibs", "obs":
			d.bs, err = parseSize(value)
		case "count":
			d.count, err = parseSize(value)
		case "skip":
			d.skip, err = parseSize(value)
		case "seek":
			d.seekTo, err = parseSize(value)
		default:
			err = fmt.Errorf("unknown operand %q", arg)
		}
		if err != nil {
			return c.Misused("%s", err)
		}
	}
	const maxBlock = 1 << 30
	if d.bs < 1 || d.bs > maxBlock {
		return c.Misused("bs must be between 1 and 1G")
	}
	in, out := c.In, io.Writer(c.Out)
	if d.in != "" {
		f, err := os.Open(d.in)
		if err != nil {
			return c.FailPath(d.in, err)
		}
		defer f.Close()
		in = f
	}
	var target *os.File
	if d.out != "" {
		flags := os.O_WRONLY | os.O_CREATE
		if !strings.Contains(d.conv, "notrunc") && d.seekTo == 0 {
			flags |= os.O_TRUNC
		}
		f, err := os.OpenFile(d.out, flags, 0o666)
		if err != nil {
			return c.FailPath(d.out, err)
		}
		defer f.Close()
		if _, err := f.Seek(d.seekTo*d.bs, io.SeekStart); err != nil && d.seekTo > 0 {
			return c.FailPath(d.out, err)
		}
		target, out = f, f
	}
	if d.skip > 0 {
		if _, err := io.CopyN(io.Discard, in, d.skip*d.bs); err != nil && err != io.EOF {
			return c.Fail("skip: %s", tool.Reason(err))
		}
	}
	begin := time.Now()
	whole, partial, bytes, err := copyBlocks(out, in, d.bs, d.count)
	if err == nil && target != nil && strings.Contains(d.conv, "fsync") {
		err = target.Sync()
	}
	if err != nil {
		return c.Fail("%s", tool.Reason(err))
	}
	if d.status != "none" {
		seconds := time.Since(begin).Seconds()
		fmt.Fprintf(c.Err, "%d+%d records in\n%d+%d records out\n", whole, partial, whole, partial)
		if d.status != "noxfer" {
			fmt.Fprintf(c.Err, "%d bytes (%s) copied, %.4g s, %s/s\n", bytes, human(uint64(bytes)), seconds, human(uint64(float64(bytes)/max(seconds, 1e-9))))
		}
	}
	return tool.OK
}

func copyBlocks(out io.Writer, in io.Reader, size, count int64) (whole, partial, bytes int64, err error) {
	buf := make([]byte, size)
	for count < 0 || whole+partial < count {
		n, err := in.Read(buf)
		if n > 0 {
			if _, err := out.Write(buf[:n]); err != nil {
				return whole, partial, bytes, err
			}
			bytes += int64(n)
			if int64(n) == size {
				whole++
			} else {
				partial++
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return whole, partial, bytes, err
		}
	}
	return whole, partial, bytes, nil
}

func df(c *tool.Call) int {
	o, status, ok := c.Options("hkiPTam h=human-readable")
	if !ok {
		return status
	}
	type row struct{ dev, at string }
	var rows []row
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return c.Fail("%s", tool.Reason(err))
	}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 2 {
			rows = append(rows, row{f[0], strings.NewReplacer(`\040`, " ", `\011`, "\t", `\134`, `\`).Replace(f[1])})
		}
	}
	if len(o.Args) > 0 {
		var chosen []row
		for _, path := range o.Args {
			real, err := canonical(path)
			if err == nil {
				_, err = os.Stat(real)
			}
			if err != nil {
				c.FailPath(path, err)
				continue
			}
			best := row{"-", "/"}
			for _, r := range rows {
				if r.at == real || strings.HasPrefix(real, strings.TrimSuffix(r.at, "/")+"/") {
					if len(r.at) >= len(best.at) {
						best = r
					}
				}
			}
			chosen = append(chosen, best)
		}
		rows = chosen
	}
	unit := "1K-blocks"
	if o.Has('h') {
		unit = "Size"
	} else if o.Has('i') {
		unit = "Inodes"
	}
	fmt.Fprintf(c.Out, "%-20s %10s %10s %10s %4s %s\n", "Filesystem", unit, "Used", "Available", "Use%", "Mounted on")
	for _, r := range rows {
		var st unix.Statfs_t
		if err := unix.Statfs(r.at, &st); err != nil || st.Blocks == 0 && len(o.Args) == 0 {
			continue
		}
		total, free, avail, size := st.Blocks, st.Bfree, st.Bavail, uint64(st.Bsize)
		if o.Has('i') {
			total, free, avail, size = st.Files, st.Ffree, st.Ffree, kib
		}
		used := total - free
		percent := "-"
		if used+avail > 0 {
			percent = strconv.FormatUint((used*100+used+avail-1)/(used+avail), 10) + "%"
		}
		show := func(blocks uint64) string {
			if o.Has('h') {
				return human(blocks * size)
			}
			return strconv.FormatUint(blocks*size/kib, 10)
		}
		fmt.Fprintf(c.Out, "%-20s %10s %10s %10s %4s %s\n", r.dev, show(total), show(used), show(avail), percent, r.at)
	}
	return c.Status()
}

func du(c *tool.Call) int {
	o, status, ok := c.Options("shkacxd:bm s=summarize h=human-readable a=all c=total d=max-depth b=bytes")
	if !ok {
		return status
	}
	depth, err := strconv.Atoi(o.Value('d', "1000000"))
	if err != nil {
		return c.Misused("%q is not a depth", o.Value('d', ""))
	}
	if o.Has('s') {
		depth = 0
	}
	show := func(bytes int64, path string) {
		switch {
		case o.Has('h'):
			fmt.Fprintf(c.Out, "%s\t%s\n", human(uint64(bytes)), path)
		case o.Has('b'):
			fmt.Fprintf(c.Out, "%d\t%s\n", bytes, path)
		case o.Has('m'):
			fmt.Fprintf(c.Out, "%d\t%s\n", (bytes+kib*kib-1)/(kib*kib), path)
		default:
			fmt.Fprintf(c.Out, "%d\t%s\n", (bytes+kib-1)/kib, path)
		}
	}
	paths := o.Args
	if len(paths) == 0 {
		paths = []string{"."}
	}
	u := &diskUsage{c: c, apparent: o.Has('b'), seen: map[[2]uint64]bool{}, show: func(bytes int64, path string, level int, dir bool) {
		if level == 0 || level <= depth && (dir || o.Has('a')) {
			show(bytes, path)
		}
	}}
	var total int64
	for _, path := range paths {
		total += u.measure(path, 0)
	}
	if o.Has('c') {
		show(total, "total")
	}
	return c.Status()
}

type diskUsage struct {
	c        *tool.Call
	apparent bool
	seen     map[[2]uint64]bool
	show     func(bytes int64, path string, level int, dir bool)
}

func (u *diskUsage) measure(path string, level int) int64 {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		u.c.FailPath(path, err)
		return 0
	}
	dir := st.Mode&unix.S_IFMT == unix.S_IFDIR
	if key := [2]uint64{st.Dev, st.Ino}; st.Nlink > 1 && !dir {
		if u.seen[key] {
			return 0
		}
		u.seen[key] = true
	}
	const sector = 512
	bytes := st.Blocks * sector
	if u.apparent {
		bytes = st.Size
	}
	if dir {
		entries, err := os.ReadDir(path)
		if err != nil {
			u.c.FailPath(path, err)
		}
		for _, e := range entries {
			bytes += u.measure(filepath.Join(path, e.Name()), level+1)
		}
	}
	u.show(bytes, path, level, dir)
	return bytes
}

// walk calls f for root and everything below it, parents first, with paths that
// begin as root does. It reports errors and goes on; fs.SkipDir of f spares a
// directory.
func walk(c *tool.Call, root string, f func(path string, e fs.DirEntry) error) {
	st, err := os.Lstat(root)
	if err != nil {
		c.FailPath(root, err)
		return
	}
	descend(c, root, fs.FileInfoToDirEntry(st), f)
}

func descend(c *tool.Call, path string, e fs.DirEntry, f func(path string, e fs.DirEntry) error) {
	err := f(path, e)
	if errors.Is(err, fs.SkipDir) {
		return
	}
	if err != nil {
		c.FailPath(path, err)
	}
	if !e.IsDir() {
		return
	}
	entries, err := os.ReadDir(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.FailPath(path, err)
	}
	for _, below := range entries {
		descend(c, strings.TrimSuffix(path, "/")+"/"+below.Name(), below, f)
	}
}
