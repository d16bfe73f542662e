package rootless

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
)

// writeMaps maps the ids of a user namespace, given by a process in it, which is a child
// of ours that is not reaped.
func writeMaps(pid int, linux *specs.Linux) error {
	if err := writeMap(pid, "uid", linux.UIDMappings, os.Geteuid()); err != nil {
		return err
	}
	return writeMap(pid, "gid", linux.GIDMappings, os.Getegid())
}

func writeMap(pid int, kind string, maps []specs.LinuxIDMapping, own int) error {
	dir := "/proc/" + strconv.Itoa(pid) + "/"
	if len(maps) != 1 || maps[0].Size != 1 || int(maps[0].HostID) != own {
		return byTool(pid, kind, maps, own)
	}
	if kind == "gid" {
		// The kernel's price for a map without privileges (user_namespaces(7)): else a
		// group that takes rights away could be left.
		if err := writeFile(dir+"setgroups", "deny"); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("give up setgroups in the user namespace: %w", err)
		}
	}
	m := maps[0]
	if err := writeFile(dir+kind+"_map", fmt.Sprintf("%d %d %d\n", m.ContainerID, m.HostID, m.Size)); err != nil {
		return fmt.Errorf("map the %s %d into the user namespace: %w", kind, own, err)
	}
	return nil
}

// writeFile writes in one call to a file that is there, as files of procfs want it.
func writeFile(name, text string) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(text)
	return err
}

// byTool lets newuidmap or newgidmap write a map: they are set-uid and know who may use
// which ids.
func byTool(pid int, kind string, maps []specs.LinuxIDMapping, own int) error {
	name := "new" + kind + "map"
	tool, err := exec.LookPath(name)
	if err != nil {
		return fault.New(fault.Unavailable, "linux.%sMappings has more than your own %s %d, and there is no %s to map it (Debian package uidmap); install that, or map %d alone", kind, kind, own, name, own)
	}
	args := []string{strconv.Itoa(pid)}
	for _, m := range maps {
		for _, n := range []uint32{m.ContainerID, m.HostID, m.Size} {
			args = append(args, strconv.FormatUint(uint64(n), 10))
		}
	}
	out, err := exec.Command(tool, args...).CombinedOutput()
	if err == nil {
		return nil
	}
	return fault.New(fault.Forbidden, "%s: %s%s", name, strings.TrimPrefix(strings.TrimSpace(strings.ReplaceAll(string(out), "\n", " ")), name+": "), why(kind, maps, own))
}

// why finds out what the tool did not like.
func why(kind string, maps []specs.LinuxIDMapping, own int) string {
	if nnp, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); err == nil && nnp == 1 {
		return " (this program runs with no_new_privs, so that a set-uid program gives no rights)"
	}
	file := "/etc/sub" + kind
	uid := os.Geteuid() // both files are by user
	name := UserName(uint32(uid))
	ranges := subRanges(file, name, uid)
	if len(ranges) == 0 {
		return fmt.Sprintf(" (%s has no line for %s; as root, run usermod --add-sub%ss 100000-165535 %s)", file, name, kind, name)
	}
	for _, m := range maps {
		if m.Size == 1 && int(m.HostID) == own || covered(ranges, uint64(m.HostID), uint64(m.Size)) {
			continue
		}
		return fmt.Sprintf(" (%ss %d to %d are not %s's: %s has %s)", kind, m.HostID, uint64(m.HostID)+uint64(m.Size)-1, name, file, describe(ranges))
	}
	return ""
}

// idRange is a line of /etc/subuid or /etc/subgid (subuid(5)).
type idRange struct{ from, count uint64 }

func covered(ranges []idRange, from, count uint64) bool {
	for _, r := range ranges {
		if from >= r.from && from+count <= r.from+r.count {
			return true
		}
	}
	return false
}

func describe(ranges []idRange) string {
	var list []string
	for _, r := range ranges {
		list = append(list, fmt.Sprintf("%d to %d", r.from, r.from+r.count-1))
	}
	return strings.Join(list, ", ")
}

// maxTable bounds what is read of the host's tables of users.
const maxTable = 1 << 20

func table(name string) string {
	f, err := os.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxTable))
	if err != nil {
		return ""
	}
	return string(data)
}

func subRanges(file, name string, uid int) []idRange { return parseRanges(table(file), name, uid) }

func parseRanges(text, name string, uid int) (list []idRange) {
	for line := range strings.Lines(text) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) != 3 || f[0] != name && f[0] != strconv.Itoa(uid) {
			continue
		}
		from, err := strconv.ParseUint(f[1], 10, 32)
		count, err2 := strconv.ParseUint(f[2], 10, 32)
		if err == nil && err2 == nil && count > 0 {
			list = append(list, idRange{from, count})
		}
	}
	return list
}

// UserName is the name of a user in /etc/passwd, or the id with a # in front.
func UserName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	for line := range strings.Lines(table("/etc/passwd")) {
		if f := strings.SplitN(line, ":", 4); len(f) == 4 && f[2] == id {
			return f[0]
		}
	}
	return "#" + id
}
