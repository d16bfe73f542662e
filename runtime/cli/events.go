package cli

import (
	"encoding/json"
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/runtime/cgroup"
	"github.com/sampan-containers/sampan/runtime/cli/record"
	"github.com/sampan-containers/sampan/runtime/stats"
)

const (
	defaultInterval = 5 * time.Second
	// oomPause is how often the count of processes killed for lack of memory is looked at.
	oomPause = 250 * time.Millisecond
)

func eventsCommand(c *call) (int, error) {
	var once bool
	var every string
	args, err := c.parse(flags{
		{names: "interval", text: &every, about: "set the stats collection interval (default: 5s)"},
		{names: "stats", set: &once, about: "display the container's stats then exit"},
	}, 1, 1)
	if err != nil {
		return 0, err
	}
	interval := defaultInterval
	if every != "" {
		if interval, err = time.ParseDuration(every); err != nil || interval <= 0 {
			return 0, fault.New(fault.Invalid, "duration interval must be greater than 0, such as 5s; it is %q", every)
		}
	}
	k, err := c.records.Peek(args[0])
	if err != nil {
		return 0, err
	}
	if k.Status() == record.Stopped {
		return 0, fault.New(fault.Conflict, "container with id %s is not running", k.ID)
	}
	g, err := k.Group()
	if err != nil {
		return 0, err
	}
	defer g.Close()
	if once {
		return 0, c.printStats(k, g)
	}
	return 0, c.follow(k, g, interval)
}

func (c *call) printStats(k *record.Container, g *cgroup.Group) error {
	s, err := stats.Read(g.Paths())
	if err != nil {
		return err
	}
	return c.printEvent(stats.Event{Type: "stats", ID: k.ID, Data: s})
}

func (c *call) printEvent(e stats.Event) error {
	data, err := json.Marshal(e)
	if err != nil {
		return err
	}
	_, err = c.Stdout.Write(append(data, '\n'))
	return err
}

// follow prints figures and events until the container's first process has ended.
func (c *call) follow(k *record.Container, g *cgroup.Group, interval time.Duration) error {
	pidfd, err := unix.PidfdOpen(k.Pid, 0)
	if err != nil {
		return fault.New(fault.Conflict, "container with id %s is not running", k.ID)
	}
	defer unix.Close(pidfd)
	killed, err := g.OOMKilled()
	if err != nil {
		return err
	}
	next := time.Now().Add(interval)
	for k.Alive() {
		wait := min(time.Until(next), oomPause)
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, max(1, int(wait.Milliseconds())))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		now, oomErr := g.OOMKilled()
		if oomErr == nil && now && !killed {
			killed = true
			if err := c.printEvent(stats.Event{Type: "oom", ID: k.ID}); err != nil {
				return err
			}
		}
		if n > 0 {
			return nil
		}
		if time.Now().Before(next) {
			continue
		}
		next = time.Now().Add(interval)
		if err := c.printStats(k, g); err != nil {
			if !k.Alive() {
				return nil // the group went while it was read
			}
			return err
		}
	}
	return nil
}
