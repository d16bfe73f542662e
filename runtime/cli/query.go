package cli

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/runtime/cgroup"
	"github.com/sampan-containers/sampan/runtime/cli/record"
	"github.com/sampan-containers/sampan/runtime/rootless"
)

// view is what state and list print, with runc's keys.
type view struct {
	Version     string            `json:"ociVersion"`
	ID          string            `json:"id"`
	Pid         int               `json:"pid"`
	Status      string            `json:"status"`
	Bundle      string            `json:"bundle"`
	Rootfs      string            `json:"rootfs"`
	Created     time.Time         `json:"created"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Owner       string            `json:"owner"`
}

func viewOf(k *record.Container) view {
	v := view{Version: k.Version, ID: k.ID, Pid: k.Pid, Status: k.Status(), Bundle: k.Bundle, Rootfs: k.Rootfs, Created: k.Created, Annotations: k.Annotations}
	if v.Status == record.Stopped {
		v.Pid = 0
	}
	return v
}

func stateCommand(c *call) (int, error) {
	args, err := c.parse(nil, 1, 1)
	if err != nil {
		return 0, err
	}
	k, err := c.records.Peek(args[0])
	if err != nil {
		return 0, err
	}
	data, err := json.MarshalIndent(viewOf(k), "", "  ")
	if err != nil {
		return 0, err
	}
	_, err = c.Stdout.Write(data)
	return 0, err
}

func listCommand(c *call) (int, error) {
	var format string
	var quiet bool
	if _, err := c.parse(flags{
		{names: "format f", text: &format, about: "how to print"},
		{names: "quiet q", set: &quiet, about: "print ids only"},
	}, 0, 0); err != nil {
		return 0, err
	}
	if format != "" && format != "table" && format != "json" {
		return 0, fault.New(fault.Invalid, "--format %q is neither table nor json", format)
	}
	list, err := c.containers()
	if err != nil {
		return 0, err
	}
	switch {
	case quiet:
		for _, v := range list {
			if _, err := c.Stdout.Write([]byte(v.ID + "\n")); err != nil {
				return 0, err
			}
		}
		return 0, nil
	case format == "json":
		data, err := json.Marshal(list)
		if err != nil {
			return 0, err
		}
		_, err = c.Stdout.Write(append(data, '\n'))
		return 0, err
	}
	_, err = c.Stdout.Write([]byte(table(list)))
	return 0, err
}

func (c *call) containers() ([]view, error) {
	entries, err := os.ReadDir(c.records.Root)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []view
	for _, e := range entries {
		k, err := c.records.Peek(e.Name())
		if err != nil {
			continue // half made, or gone since
		}
		v := viewOf(k)
		v.Owner = owner(k.Dir())
		list = append(list, v)
	}
	return list, nil
}

// owner names who made the container.
func owner(path string) string {
	info, err := os.Lstat(path)
	if err != nil {
		return ""
	}
	if uid := info.Sys().(*syscall.Stat_t).Uid; uid != 0 {
		return rootless.UserName(uid)
	}
	return "root"
}

// table lines the columns up as runc does: at least 12 wide, three spaces between.
func table(list []view) string {
	rows := [][]string{{"ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"}}
	for _, v := range list {
		rows = append(rows, []string{v.ID, strconv.Itoa(v.Pid), v.Status, v.Bundle, v.Created.Format(time.RFC3339Nano), v.Owner})
	}
	width := make([]int, len(rows[0]))
	for i := range width {
		width[i] = 12
		for _, r := range rows {
			width[i] = max(width[i], len(r[i])+3)
		}
	}
	var b strings.Builder
	for _, r := range rows {
		for i, cell := range r {
			if i == len(r)-1 {
				b.WriteString(cell + "\n")
				break
			}
			b.WriteString(cell + strings.Repeat(" ", width[i]-len(cell)))
		}
	}
	return b.String()
}

func pauseCommand(c *call) (int, error) {
	return c.freezer(record.Running, "pause", (*cgroup.Group).Freeze)
}

func resumeCommand(c *call) (int, error) {
	return c.freezer(record.Paused, "resume", (*cgroup.Group).Thaw)
}

func (c *call) freezer(from, verb string, act func(*cgroup.Group, context.Context) error) (int, error) {
	args, err := c.parse(nil, 1, 1)
	if err != nil {
		return 0, err
	}
	k, err := c.records.Open(args[0])
	if err != nil {
		return 0, err
	}
	defer k.Close()
	if status := k.Status(); status != from && !(verb == "pause" && status == record.Created) {
		return 0, fault.New(fault.Conflict, "cannot %s container %s: it is %s, not %s", verb, k.ID, status, from)
	}
	g, err := k.Group()
	if err != nil {
		return 0, err
	}
	defer g.Close()
	return 0, act(g, context.Background())
}
