package lab

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
)

// Things lists what the kernel holds at the moment: mounts, links, tables, control
// groups and Sampan's processes, by name.
func Things(t testing.TB) []string {
	t.Helper()
	var all []string
	for line := range survey() {
		if !strings.HasPrefix(line, "process ") {
			all = append(all, line)
		}
	}
	for _, p := range OurProcesses(t) {
		_, name, _ := strings.Cut(p, " ")
		all = append(all, "process "+name)
	}
	slices.Sort(all)
	return all
}

// things are what the kernel holds at one moment, one line each.
type things map[string]bool

// survey lists what a container engine could leave behind.
func survey() things {
	all := things{}
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); len(fields) > 4 {
			all["mount "+fields[4]] = true
		}
	}
	links, _ := netlink.LinkList()
	for _, link := range links {
		all[fmt.Sprintf("link %s (%s)", link.Attrs().Name, link.Type())] = true
	}
	if conn, err := nftables.New(); err == nil {
		tables, _ := conn.ListTables()
		for _, table := range tables {
			all[fmt.Sprintf("nft table %s (family %d)", table.Name, table.Family)] = true
		}
	}
	all.addProcesses()
	all.addCgroups()
	temporary, _ := filepath.Glob(filepath.Join(os.TempDir(), "sampan*"))
	for _, path := range temporary {
		all["file "+path] = true
	}
	return all
}

func (all things) addProcesses() {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		if cmdline, err := os.ReadFile(filepath.Join(dir, "cmdline")); err == nil && len(cmdline) > 0 {
			all["process "+filepath.Base(dir)+" "+strings.ReplaceAll(strings.TrimRight(string(cmdline), "\x00"), "\x00", " ")] = true
		}
	}
}

// addCgroups lists groups at most two deep: that is where engines put theirs.
func (all things) addCgroups() {
	const root, depth = "/sys/fs/cgroup", 3
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil
		}
		level := strings.Count(strings.TrimPrefix(path, root), "/")
		if strings.Contains(path, "sampan") {
			all["cgroup "+path] = true
		}
		if level >= depth {
			return fs.SkipDir
		}
		return nil
	})
}

// beyond returns what is in all and was not in before.
func (all things) beyond(before things) []string {
	var extra []string
	for line := range all {
		if !before[line] {
			extra = append(extra, line)
		}
	}
	return extra
}
