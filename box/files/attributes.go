package files

import (
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/box/tool"
)

// each calls f for path, and for all below it if recursive is set.
func each(c *tool.Call, path string, recursive bool, f func(path string) error) {
	if !recursive {
		if err := f(path); err != nil {
			c.FailPath(path, err)
		}
		return
	}
	err := filepath.WalkDir(path, func(p string, _ fs.DirEntry, err error) error {
		if err == nil {
			err = f(p)
		}
		if err != nil {
			c.FailPath(p, err)
		}
		return nil
	})
	if err != nil {
		c.FailPath(path, err)
	}
}

func chmod(c *tool.Call) int {
	// A mode such as -x looks like an option: only -R, -v and -f are.
	recursive := false
	args := c.Args
	for len(args) > 0 && (args[0] == "-R" || args[0] == "--recursive" || args[0] == "-f" || args[0] == "-v" || args[0] == "--") {
		recursive = recursive || args[0] == "-R" || args[0] == "--recursive"
		args = args[1:]
	}
	if len(args) < 2 {
		return c.Misused("needs a mode and a file")
	}
	change, err := parseMode(args[0])
	if err != nil {
		return c.Misused("%s", err)
	}
	for _, path := range args[1:] {
		each(c, path, recursive, func(p string) error {
			var st unix.Stat_t
			if err := unix.Lstat(p, &st); err != nil {
				return err
			}
			if st.Mode&unix.S_IFMT == unix.S_IFLNK {
				if recursive {
					return nil
				}
				if err := unix.Stat(p, &st); err != nil {
					return err
				}
			}
			return unix.Chmod(p, change(st.Mode))
		})
	}
	return c.Status()
}

// parseMode reads an octal mode, or a list such as u+x,go-w,a=rX.
func parseMode(text string) (func(mode uint32) uint32, error) {
	if n, err := strconv.ParseUint(text, 8, 12); err == nil {
		return func(uint32) uint32 { return uint32(n) }, nil
	}
	umask := unix.Umask(0)
	unix.Umask(umask)
	var steps []func(uint32) uint32
	for clause := range strings.SplitSeq(text, ",") {
		i := strings.IndexAny(clause, "+-=")
		if i < 0 {
			return nil, fmt.Errorf("%q is not a mode, such as 644 or u+x,go-w", text)
		}
		var who uint32
		for _, w := range clause[:i] {
			bits, ok := map[rune]uint32{'u': 0o4700, 'g': 0o2070, 'o': 0o1007, 'a': 0o7777}[w]
			if !ok {
				return nil, fmt.Errorf("%q is not a mode: who is %q?", text, w)
			}
			who |= bits
		}
		if who == 0 {
			who = 0o7777 &^ uint32(umask)
		}
		op, perms := clause[i], clause[i+1:]
		if strings.Trim(perms, "rwxXst") != "" {
			return nil, fmt.Errorf("%q is not a mode, such as 644 or u+x,go-w", text)
		}
		steps = append(steps, func(mode uint32) uint32 {
			bits := permissions(perms, mode) & who
			switch op {
			case '+':
				return mode | bits
			case '-':
				return mode &^ bits
			}
			return mode&^(who&0o777) | bits
		})
	}
	return func(mode uint32) uint32 {
		for _, step := range steps {
			mode = step(mode)
		}
		return mode & 0o7777
	}, nil
}

func permissions(letters string, mode uint32) uint32 {
	var bits uint32
	for _, l := range letters {
		switch l {
		case 'r':
			bits |= 0o444
		case 'w':
			bits |= 0o222
		case 'x':
			bits |= 0o111
		case 'X':
			if mode&unix.S_IFMT == unix.S_IFDIR || mode&0o111 != 0 {
				bits |= 0o111
			}
		case 's':
			bits |= 0o6000
		case 't':
			bits |= 0o1000
		}
	}
	return bits
}

func chown(c *tool.Call) int {
	o, status, ok := c.Options("Rhfv R=recursive h=no-dereference")
	if !ok {
		return status
	}
	if len(o.Args) < 2 {
		return c.Misused("needs an owner and a file")
	}
	uid, gid, err := parseOwner(o.Args[0])
	if err != nil {
		return c.Fail("%s", err)
	}
	for _, path := range o.Args[1:] {
		each(c, path, o.Has('R'), func(p string) error {
			if o.Has('h') || o.Has('R') {
				return os.Lchown(p, uid, gid)
			}
			return os.Chown(p, uid, gid)
		})
	}
	return c.Status()
}

// parseOwner reads USER, USER:GROUP, :GROUP and numbers; -1 leaves an ID alone.
func parseOwner(text string) (uid, gid int, err error) {
	owner, group, _ := strings.Cut(text, ":")
	uid, gid = -1, -1
	if owner != "" {
		if uid, err = strconv.Atoi(owner); err != nil {
			u, err := user.Lookup(owner)
			if err != nil {
				return 0, 0, fmt.Errorf("unknown user %s", owner)
			}
			if uid, err = strconv.Atoi(u.Uid); err != nil {
				return 0, 0, err
			}
		}
	}
	if group != "" {
		if gid, err = strconv.Atoi(group); err != nil {
			g, err := user.LookupGroup(group)
			if err != nil {
				return 0, 0, fmt.Errorf("unknown group %s", group)
			}
			if gid, err = strconv.Atoi(g.Gid); err != nil {
				return 0, 0, err
			}
		}
	}
	return uid, gid, nil
}

const defaultStat = "  File: %N\n  Size: %-10s\tBlocks: %-10b IO Block: %-6o %F\nDevice: %D\tInode: %-10i  Links: %h\nAccess: (%04a/%A)  Uid: (%5u/%8U)   Gid: (%5g/%8G)\nAccess: %x\nModify: %y\nChange: %z"

func stat(c *tool.Call) int {
	o, status, ok := c.Options("Lc:t c=format L=dereference")
	if !ok {
		return status
	}
	if len(o.Args) == 0 {
		return c.Misused("needs a file")
	}
	format := o.Value('c', defaultStat)
	for _, path := range o.Args {
		call := unix.Lstat
		if o.Has('L') {
			call = unix.Stat
		}
		var st unix.Stat_t
		if err := call(path, &st); err != nil {
			c.FailPath(path, err)
			continue
		}
		fmt.Fprintln(c.Out, formatStat(format, path, &st))
	}
	return c.Status()
}

// formatStat knows GNU's letters.
func formatStat(format, path string, st *unix.Stat_t) string {
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			b.WriteByte(format[i])
			continue
		}
		start := i
		for i++; i < len(format)-1 && strings.IndexByte("-0123456789", format[i]) >= 0; i++ {
		}
		text := statField(format[i], path, st)
		width, _ := strconv.Atoi(strings.TrimLeft(format[start+1:i], "-0")) // no digits mean 0
		pad := strings.Repeat(" ", max(0, width-len(text)))
		switch flags := format[start+1 : i]; {
		case strings.HasPrefix(flags, "-"):
			b.WriteString(text + pad)
		case strings.HasPrefix(flags, "0"):
			b.WriteString(strings.ReplaceAll(pad, " ", "0") + text)
		default:
			b.WriteString(pad + text)
		}
	}
	return b.String()
}

func statField(letter byte, path string, st *unix.Stat_t) string {
	u := func(n uint64) string { return strconv.FormatUint(n, 10) }
	stamp := func(ts unix.Timespec) string {
		return time.Unix(ts.Unix()).Format("2006-01-02 15:04:05.000000000 -0700")
	}
	switch letter {
	case 'n':
		return path
	case 'N':
		if target, err := os.Readlink(path); err == nil {
			return path + " -> " + target
		}
		return path
	case 's':
		return strconv.FormatInt(st.Size, 10)
	case 'b':
		return strconv.FormatInt(st.Blocks, 10)
	case 'B':
		return "512"
	case 'o':
		return strconv.FormatInt(int64(st.Blksize), 10)
	case 'F':
		return kindName(st)
	case 'd':
		return u(st.Dev)
	case 'D':
		return fmt.Sprintf("%d,%d", unix.Major(st.Dev), unix.Minor(st.Dev))
	case 'i':
		return u(st.Ino)
	case 'h':
		return u(uint64(st.Nlink))
	case 'a':
		return strconv.FormatUint(uint64(st.Mode&0o7777), 8)
	case 'A':
		return modeText(st.Mode)
	case 'f':
		return strconv.FormatUint(uint64(st.Mode), 16)
	case 'u':
		return u(uint64(st.Uid))
	case 'g':
		return u(uint64(st.Gid))
	case 'U':
		if who, err := user.LookupId(u(uint64(st.Uid))); err == nil {
			return who.Username
		}
		return "UNKNOWN"
	case 'G':
		if g, err := user.LookupGroupId(u(uint64(st.Gid))); err == nil {
			return g.Name
		}
		return "UNKNOWN"
	case 't':
		return strconv.FormatUint(uint64(unix.Major(st.Rdev)), 16)
	case 'T':
		return strconv.FormatUint(uint64(unix.Minor(st.Rdev)), 16)
	case 'x':
		return stamp(st.Atim)
	case 'y':
		return stamp(st.Mtim)
	case 'z':
		return stamp(st.Ctim)
	case 'X':
		return strconv.FormatInt(st.Atim.Sec, 10)
	case 'Y':
		return strconv.FormatInt(st.Mtim.Sec, 10)
	case 'Z':
		return strconv.FormatInt(st.Ctim.Sec, 10)
	case '%':
		return "%"
	}
	return "?"
}

func kindName(st *unix.Stat_t) string {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return "directory"
	case unix.S_IFLNK:
		return "symbolic link"
	case unix.S_IFCHR:
		return "character special file"
	case unix.S_IFBLK:
		return "block special file"
	case unix.S_IFIFO:
		return "fifo"
	case unix.S_IFSOCK:
		return "socket"
	}
	if st.Size == 0 {
		return "regular empty file"
	}
	return "regular file"
}
