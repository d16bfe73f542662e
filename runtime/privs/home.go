package privs

import (
	"os"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/kernel/inroot"
	"github.com/sampan-containers/sampan/kernel/weak"
)

// maxPasswd bounds what is read of a container's /etc/passwd (CVE-2024-5154 and its like).
const maxPasswd = 1 << 20

// Environment settles the environment of a process. Of a variable that is there more
// than once the last one counts, as for runc: getenv(3) finds the first, a shell the last.
//
// A process that has no HOME, or an empty one, gets that of its user in the container's
// /etc/passwd, "/" if there is none, as from runc and crun: programs of callers that know
// those rely on it. The file is hostile: it is looked up below the root, must be a
// regular file, and is read in bounds. A file that is mounted over it is not seen at the
// first start, when nothing is mounted yet.
func Environment(p *specs.Process, root *os.File) *specs.Process {
	env, home := last(p.Env), ""
	for i, e := range env {
		if value, ok := strings.CutPrefix(e, "HOME="); ok && value != "" {
			home = value
		} else if ok {
			env = slices.Delete(slices.Clone(env), i, i+1)
			break
		}
	}
	if home == "" {
		home = "/"
		if root != nil {
			home = homeOf(root, p.User.UID)
		}
		env = append(env[:len(env):len(env)], "HOME="+home)
	}
	with := *p
	with.Env = env
	return &with
}

// last returns a list that has only the last of each variable; a list without such
// doubles as it is.
func last(env []string) []string {
	if !doubled(env) {
		return env
	}
	seen := make(map[string]bool, len(env))
	out := make([]string, 0, len(env))
	for _, e := range slices.Backward(env) {
		if name := nameOf(e); !seen[name] {
			seen[name] = true
			out = append(out, e)
		}
	}
	slices.Reverse(out)
	return out
}

// doubled looks for a variable that is there twice. Most lists are so short that
// comparing is faster than a map; long ones are taken for doubled.
func doubled(env []string) bool {
	const short = 64
	for i, e := range env {
		name := nameOf(e)
		for _, other := range env[:min(i, short)] {
			if strings.HasPrefix(other, name) && nameOf(other) == name {
				return true
			}
		}
	}
	return len(env) > short
}

// nameOf is what stands before the first "=".
func nameOf(variable string) string {
	name, _, _ := strings.Cut(variable, "=")
	return name
}

func homeOf(root *os.File, uid uint32) string {
	const none = "/"
	flags := unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOCTTY // it may be a FIFO
	if weak.Off("passwd") {
		flags = unix.O_RDONLY
	}
	fd, err := inroot.From(root).OpenFD("/etc/passwd", flags)
	if err != nil {
		return none
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return none
	}
	data := make([]byte, min(st.Size, maxPasswd))
	n, err := unix.Read(fd, data) // a regular file gives all that it has
	if err != nil {
		return none
	}
	data = data[:n]
	want := strconv.FormatUint(uint64(uid), 10)
	for line := range strings.Lines(string(data)) {
		fields := strings.Split(strings.TrimRight(line, "\n"), ":")
		if len(fields) < 7 || fields[2] != want {
			continue
		}
		if dir := fields[5]; strings.HasPrefix(dir, "/") && !strings.ContainsFunc(dir, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return dir
		}
		return none
	}
	return none
}
