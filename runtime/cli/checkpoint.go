package cli

import (
	"errors"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/runtime/checkpoint"
	"github.com/sampan-containers/sampan/runtime/cli/record"
)

// criuFlags are the options that checkpoint and restore share.
type criuFlags struct {
	checkpoint.Options
	cgroups string
	emptyNS []string
}

func (o *criuFlags) flags() flags {
	return flags{
		{names: "image-path", text: &o.Images, about: "path of the directory of criu's image files (default: checkpoint)"},
		{names: "work-path", text: &o.Work, about: "path for saving work files and logs"},
		{names: "tcp-established", set: &o.TCPEstablished, about: "allow open tcp connections"},
		{names: "ext-unix-sk", set: &o.ExtUnixSockets, about: "allow external unix sockets"},
		{names: "shell-job", set: &o.ShellJob, about: "allow shell jobs"},
		{names: "file-locks", set: &o.FileLocks, about: "handle file locks, for safety"},
		{names: "lazy-pages", set: &o.LazyPages, about: "use userfaultfd to lazily restore memory pages"},
		{names: "manage-cgroups-mode", text: &o.cgroups, about: "cgroups mode: soft (default), full, strict or ignore"},
		{names: "empty-ns", list: &o.emptyNS, about: "create a namespace, but don't restore its properties"},
		{names: "auto-dedup", set: &o.AutoDedup, about: "enable auto deduplication of memory images"},
	}
}

func (o *criuFlags) take(c *call) error {
	o.Program = c.criu
	return errors.Join(o.SetCgroupMode(o.cgroups), o.SetEmptyNamespaces(o.emptyNS))
}

func checkpointCommand(c *call) (int, error) {
	o := &criuFlags{}
	status, server := -1, ""
	args, err := c.parse(append(o.flags(),
		flag{names: "parent-path", text: &o.Parent, about: "path for previous criu image files in pre-dump"},
		flag{names: "leave-running", set: &o.LeaveRunning, about: "leave the process running after checkpointing"},
		flag{names: "status-fd", number: &status, about: "a zero byte is written to this descriptor once lazy-pages is ready"},
		flag{names: "page-server", text: &server, about: "ADDRESS:PORT of the page server"},
		flag{names: "pre-dump", set: &o.PreDump, about: "dump container's memory information only, leave the container running after this"},
	), 1, 1)
	if err != nil {
		return 0, err
	}
	o.StatusFD = status
	if err := errors.Join(o.take(c), o.SetPageServer(server)); err != nil {
		return 0, err
	}
	k, err := c.records.Open(args[0])
	if err != nil {
		return 0, err
	}
	defer k.Close()
	if status := k.Status(); status == record.Created || status == record.Stopped {
		return 0, fault.New(fault.Conflict, "container %s cannot be checkpointed in %s state", k.ID, status)
	}
	g, err := k.Group()
	if err != nil {
		return 0, err
	}
	defer g.Close()
	s := &checkpoint.Subject{ID: k.ID, Spec: k.Spec, Root: k.Rootfs, Pid: k.Pid, Groups: g.Paths()}
	if err := checkpoint.Dump(s, &o.Options); err != nil || o.LeaveRunning || o.PreDump {
		return 0, err
	}
	return 0, c.destroy(k, g)
}
