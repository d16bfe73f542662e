package mounts

import (
	"bufio"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/moby/moby/api/types/mount"
)

// maxMountLine bounds a line of mountinfo, whose paths have at most 4096 bytes
// each, escaped.
const maxMountLine = 1 << 16

// CheckPropagation refuses a bind that is to pass mounts on when what its source
// lies on does not: the container would see none of them, without a word.
func CheckPropagation(m *Mount) error {
	var shared, slave bool
	switch m.Propagation {
	case mount.PropagationShared, mount.PropagationRShared:
		shared = true
	case mount.PropagationSlave, mount.PropagationRSlave:
		slave = true
	}
	if m.Type != mount.TypeBind || !shared && !slave {
		return nil
	}
	source, err := filepath.EvalSymlinks(m.Source)
	if err != nil {
		return invalid("bind source %s: %v", m.Source, err)
	}
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	defer f.Close()
	point, tags := mountOf(f, source)
	switch {
	case shared && !strings.Contains(tags, "shared:"):
		return invalid("path %s is mounted on %s but it is not a shared mount (mount --make-shared %s, or choose another propagation)", m.Source, point, point)
	case slave && !strings.Contains(tags, "shared:") && !strings.Contains(tags, "master:"):
		return invalid("path %s is mounted on %s but it is not a shared or slave mount (mount --make-shared %s, or choose another propagation)", m.Source, point, point)
	}
	return nil
}

// mountOf finds the mount that a path lies on, and its optional fields.
func mountOf(table io.Reader, source string) (point, tags string) {
	escape := strings.NewReplacer(" ", `\040`, "\t", `\011`, "\n", `\012`, `\`, `\134`)
	source = escape.Replace(source)
	lines := bufio.NewScanner(table)
	lines.Buffer(nil, maxMountLine)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 7 {
			continue
		}
		at := fields[4]
		if at != "/" && at != source && !strings.HasPrefix(source, at+"/") || len(at) < len(point) {
			continue
		}
		// The last of those at one place is on top.
		point = at
		optional, _, _ := strings.Cut(strings.Join(fields[6:], " "), " - ")
		tags = optional
		if fields[6] == "-" {
			tags = ""
		}
	}
	return point, tags
}
