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

// WithHome gives a process that has no HOME, or an empty one, the one of its user in the container's
// /etc/passwd, "/" if there is none, as runc and crun do: programs of callers that know
// those rely on it. The file is hostile: it is looked up below the root, must be a
// regular file, and is read in bounds. A file that is mounted over it is not seen at the
// first start, when nothing is mounted yet.
func WithHome(p *specs.Process, root *os.File) *specs.Process {
	at := slices.IndexFunc(p.Env, func(e string) bool { return strings.HasPrefix(e, "HOME=") })
	if at >= 0 && p.Env[at] != "HOME=" {
		return p
	}
	home := "/"
	if root != nil {
		home = homeOf(root, p.User.UID)
	}
	with := *p
	with.Env = append(slices.Clip(p.Env), "HOME="+home)
	if at >= 0 {
		with.Env = slices.Delete(slices.Clone(with.Env), at, at+1)
	}
	return &with
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
