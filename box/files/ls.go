package files

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/sampan-containers/sampan/box/tool"
)

const (
	defaultWidth = 80
	// sixMonths decides, as POSIX says, between the time and the year.
	sixMonths = 182 * 24 * time.Hour
)

type file struct {
	name string
	st   unix.Stat_t
	link string
}

func (f *file) is(kind uint32) bool { return f.st.Mode&unix.S_IFMT == kind }

type lister struct {
	c             *tool.Call
	o             *tool.Options
	colour, long  bool
	width         int
	users, groups map[uint32]string
	now           time.Time
}

func ls(c *tool.Call) int {
	o, status, ok := c.Options("aAl1dFhinRrStuC a=all A=almost-all l=long h=human-readable R=recursive r=reverse")
	if !ok {
		return status
	}
	l := &lister{c: c, o: o, long: o.Has('l') || o.Has('n'), users: map[uint32]string{}, groups: map[uint32]string{}, now: time.Now()}
	if term.IsTerminal(unix.Stdout) {
		l.colour = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
		l.width = defaultWidth
		if w, _, err := term.GetSize(unix.Stdout); err == nil && w > 0 {
			l.width = w
		}
	}
	if o.Has('1') {
		l.width = 0
	} else if o.Has('C') && l.width == 0 {
		l.width = defaultWidth
	}
	paths := o.Args
	if len(paths) == 0 {
		paths = []string{"."}
	}
	var plain, dirs []file
	for _, p := range paths {
		f, err := lookup(p, p)
		if err != nil {
			c.FailPath(p, err)
			continue
		}
		target := f
		if f.is(unix.S_IFLNK) && !l.long {
			if err := unix.Stat(p, &target.st); err != nil {
				target = f
			}
		}
		if target.is(unix.S_IFDIR) && !o.Has('d') {
			dirs = append(dirs, f)
		} else {
			plain = append(plain, f)
		}
	}
	l.print(plain)
	for i, d := range dirs {
		if i > 0 || len(plain) > 0 {
			fmt.Fprintln(c.Out)
		}
		l.directory(d.name, len(paths) > 1 || o.Has('R'))
	}
	return c.Status()
}

func lookup(path, name string) (file, error) {
	f := file{name: name}
	if err := unix.Lstat(path, &f.st); err != nil {
		return f, err
	}
	if f.is(unix.S_IFLNK) {
		f.link, _ = os.Readlink(path) // shown without its target if it is gone by now
	}
	return f, nil
}

func (l *lister) directory(dir string, title bool) {
	if title {
		fmt.Fprintf(l.c.Out, "%s:\n", dir)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		l.c.FailPath(dir, err)
	}
	var names []string
	if l.o.Has('a') {
		names = append(names, ".", "..")
	}
	for _, e := range entries {
		if l.o.Has('a') || l.o.Has('A') || !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	var list []file
	var blocks int64
	for _, name := range names {
		f, err := lookup(filepath.Join(dir, name), name)
		if err != nil {
			l.c.FailPath(filepath.Join(dir, name), err)
			continue
		}
		blocks += f.st.Blocks
		list = append(list, f)
	}
	if l.long {
		fmt.Fprintf(l.c.Out, "total %d\n", blocks/2)
	}
	l.print(list)
	if !l.o.Has('R') {
		return
	}
	for _, f := range list {
		if f.is(unix.S_IFDIR) && f.name != "." && f.name != ".." {
			fmt.Fprintln(l.c.Out)
			l.directory(strings.TrimSuffix(dir, "/")+"/"+f.name, true)
		}
	}
}

func (l *lister) sort(list []file) {
	slices.SortStableFunc(list, func(a, b file) int {
		n := 0
		switch {
		case l.o.Has('t') && l.o.Has('u'):
			n = later(a.st.Atim, b.st.Atim)
		case l.o.Has('t'):
			n = later(a.st.Mtim, b.st.Mtim)
		case l.o.Has('S'):
			n = int(min(max(b.st.Size-a.st.Size, -1), 1))
		}
		if n == 0 {
			n = strings.Compare(a.name, b.name)
		}
		return n
	})
	if l.o.Has('r') {
		slices.Reverse(list)
	}
}

func later(a, b unix.Timespec) int {
	return time.Unix(b.Unix()).Compare(time.Unix(a.Unix()))
}

func (l *lister) print(list []file) {
	l.sort(list)
	if l.long {
		l.printLong(list)
		return
	}
	texts := make([]string, len(list))
	widest := 0
	for i := range list {
		texts[i] = l.prefix(&list[i]) + list[i].name + l.suffix(&list[i])
		widest = max(widest, utf8.RuneCountInString(texts[i]))
	}
	const gap = 2
	columns := 1
	if l.width > 0 {
		columns = max(1, (l.width+gap)/(widest+gap))
	}
	rows := (len(list) + columns - 1) / columns
	for r := range rows {
		for i := r; i < len(list); i += rows {
			fmt.Fprint(l.c.Out, l.prefix(&list[i])+l.paint(&list[i])+l.suffix(&list[i]))
			if i+rows < len(list) {
				fmt.Fprint(l.c.Out, strings.Repeat(" ", widest+gap-utf8.RuneCountInString(texts[i])))
			}
		}
		fmt.Fprintln(l.c.Out)
	}
}

func (l *lister) prefix(f *file) string {
	if l.o.Has('i') {
		return strconv.FormatUint(f.st.Ino, 10) + " "
	}
	return ""
}

func (l *lister) suffix(f *file) string {
	if !l.o.Has('F') {
		return ""
	}
	switch f.st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return "/"
	case unix.S_IFLNK:
		return "@"
	case unix.S_IFIFO:
		return "|"
	case unix.S_IFSOCK:
		return "="
	}
	if f.st.Mode&0o111 != 0 {
		return "*"
	}
	return ""
}

func (l *lister) paint(f *file) string {
	name := printable(f.name)
	code := ""
	switch f.st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		code = "1;34"
	case unix.S_IFLNK:
		code = "1;36"
	case unix.S_IFCHR, unix.S_IFBLK:
		code = "1;33"
	case unix.S_IFIFO, unix.S_IFSOCK:
		code = "35"
	default:
		if f.st.Mode&0o111 != 0 {
			code = "1;32"
		}
	}
	if !l.colour || code == "" {
		return name
	}
	return "\x1b[" + code + "m" + name + "\x1b[0m"
}

// printable keeps a file's name from steering the terminal.
func printable(name string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, name)
}

func (l *lister) printLong(list []file) {
	var links, owner, group, size int
	rows := make([][4]string, len(list))
	for i := range list {
		f := &list[i]
		rows[i] = [4]string{strconv.FormatUint(uint64(f.st.Nlink), 10), l.owner(f.st.Uid), l.group(f.st.Gid), l.size(f)}
		links, owner = max(links, len(rows[i][0])), max(owner, len(rows[i][1]))
		group, size = max(group, len(rows[i][2])), max(size, len(rows[i][3]))
	}
	for i := range list {
		f, r := &list[i], rows[i]
		fmt.Fprintf(l.c.Out, "%s%s %*s %-*s %-*s %*s %s %s%s", l.prefix(f), modeText(f.st.Mode), links, r[0], owner, r[1], group, r[2], size, r[3], l.time(f), l.paint(f), l.suffix(f))
		if f.link != "" {
			fmt.Fprintf(l.c.Out, " -> %s", printable(f.link))
		}
		fmt.Fprintln(l.c.Out)
	}
}

func (l *lister) size(f *file) string {
	if f.is(unix.S_IFCHR) || f.is(unix.S_IFBLK) {
		return fmt.Sprintf("%d, %d", unix.Major(f.st.Rdev), unix.Minor(f.st.Rdev))
	}
	if l.o.Has('h') {
		return human(uint64(f.st.Size))
	}
	return strconv.FormatInt(f.st.Size, 10)
}

func (l *lister) time(f *file) string {
	ts := f.st.Mtim
	if l.o.Has('u') {
		ts = f.st.Atim
	}
	t := time.Unix(ts.Unix())
	if age := l.now.Sub(t); age > sixMonths || age < -time.Hour {
		return t.Format("Jan _2  2006")
	}
	return t.Format("Jan _2 15:04")
}

func (l *lister) owner(id uint32) string {
	if l.o.Has('n') {
		return strconv.FormatUint(uint64(id), 10)
	}
	if name, ok := l.users[id]; ok {
		return name
	}
	name := strconv.FormatUint(uint64(id), 10)
	if u, err := user.LookupId(name); err == nil {
		name = u.Username
	}
	l.users[id] = name
	return name
}

func (l *lister) group(id uint32) string {
	if l.o.Has('n') {
		return strconv.FormatUint(uint64(id), 10)
	}
	if name, ok := l.groups[id]; ok {
		return name
	}
	name := strconv.FormatUint(uint64(id), 10)
	if g, err := user.LookupGroupId(name); err == nil {
		name = g.Name
	}
	l.groups[id] = name
	return name
}

// modeText is the ten letters of a file's type and rights.
func modeText(mode uint32) string {
	kinds := map[uint32]byte{unix.S_IFDIR: 'd', unix.S_IFLNK: 'l', unix.S_IFCHR: 'c', unix.S_IFBLK: 'b', unix.S_IFIFO: 'p', unix.S_IFSOCK: 's'}
	b := []byte("----------")
	if k, ok := kinds[mode&unix.S_IFMT]; ok {
		b[0] = k
	}
	for i, letter := range "rwxrwxrwx" {
		if mode&(1<<(8-i)) != 0 {
			b[i+1] = byte(letter)
		}
	}
	for _, special := range []struct {
		bit  uint32
		at   int
		with byte
	}{{unix.S_ISUID, 3, 's'}, {unix.S_ISGID, 6, 's'}, {unix.S_ISVTX, 9, 't'}} {
		if mode&special.bit == 0 {
			continue
		}
		if b[special.at] != 'x' {
			special.with -= 'a' - 'A'
		}
		b[special.at] = special.with
	}
	return string(b)
}

// human shows a size with three significant places: 4.0K, 12M, 1.5G.
func human(n uint64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return strconv.FormatUint(n, 10)
	}
	v, unit := float64(n), -1
	for v >= 1024 && unit < len(units)-1 {
		v /= 1024
		unit++
	}
	if v < 10 {
		return fmt.Sprintf("%.1f%c", v, units[unit])
	}
	return fmt.Sprintf("%.0f%c", v, units[unit])
}

func isDir(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir()
}
