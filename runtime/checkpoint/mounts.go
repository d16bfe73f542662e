package checkpoint

import (
	"os"
	"path"
	"slices"
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/kernel/inroot"
)

// Names of what covers masked paths. The one of files is runc's.
const (
	keyEmpty = "sampan:empty"
	keyNull  = "/dev/null"
)

// isBind tells whether a mount shows something of the host.
func isBind(m *specs.Mount) bool {
	return m.Type == "bind" || slices.Contains(m.Options, "bind") || slices.Contains(m.Options, "rbind")
}

// placeInside finds where a path of the container leads, as its mount table has it. What
// does not exist stays as it is: no mount is there.
func placeInside(root *os.File, name string) string {
	name = path.Clean("/" + name)
	f, err := inroot.From(root).Open(name, unix.O_PATH, 0)
	if err != nil {
		return name
	}
	defer f.Close()
	place, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(int(f.Fd())))
	if err != nil || !path.IsAbs(place) {
		return name
	}
	return place
}

// kindInside returns the type of what a path of the container leads to, or 0.
func kindInside(root *os.File, name string) uint32 {
	f, err := inroot.From(root).Open(path.Clean("/"+name), unix.O_PATH, 0)
	if err != nil {
		return 0
	}
	defer f.Close()
	var st unix.Stat_t
	if unix.Fstat(int(f.Fd()), &st) != nil {
		return 0
	}
	return st.Mode & unix.S_IFMT
}
