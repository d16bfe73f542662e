package speccheck

import (
	"fmt"
	"math"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-containers/sampan/kernel/weak"
)

const (
	// The kernel's limits for an execve (MAX_ARG_STRLEN, and a quarter of an 8 MiB
	// stack for all strings) leave no room for more.
	maxArgument  = 128 << 10
	maxArguments = 64 << 10
	// maxGroups is NGROUPS_MAX.
	maxGroups = 65536
	// noID is (uid_t)-1, which means "leave alone" to the system calls.
	noID = math.MaxUint32
)

func command(p *specs.Process) error {
	switch {
	case p.CommandLine != "":
		return invalid("process.commandLine is for Windows; use process.args")
	case len(p.Args) == 0:
		return invalid("process.args is empty; there is no command to run")
	case p.Args[0] == "":
		return invalid("process.args[0] is empty; there is no command to run")
	case len(p.Args) > maxArguments || len(p.Env) > maxArguments:
		return invalid("process has more than %d arguments or environment variables", maxArguments)
	case p.Cwd == "":
		return invalid("process.cwd is empty; it must be an absolute path")
	}
	if err := absolute("process.cwd", p.Cwd); err != nil {
		return err
	}
	for _, l := range []struct {
		field string
		list  []string
	}{{"process.args", p.Args}, {"process.env", p.Env}} {
		for i, s := range l.list {
			field := fmt.Sprintf("%s[%d]", l.field, i)
			if err := text(field, s); err != nil {
				return err
			}
			if len(s) >= maxArgument {
				return invalid("%s has %d bytes, the kernel takes %d", field, len(s), maxArgument-1)
			}
		}
	}
	for i, e := range p.Env {
		if strings.HasPrefix(e, "=") {
			return invalid("process.env[%d] %s has no name before the =", i, quoted(e))
		}
	}
	return nil
}

func user(p *specs.Process) error {
	u := &p.User
	if weak.Off("ids") {
		return nil
	}
	switch {
	case u.UID == noID:
		return invalid("process.user.uid %d is out of range; ids go from 0 to %d", u.UID, uint32(noID-1))
	case u.GID == noID:
		return invalid("process.user.gid %d is out of range; ids go from 0 to %d", u.GID, uint32(noID-1))
	case slices.Contains(u.AdditionalGids, noID):
		return invalid("process.user.additionalGids has %d, which is out of range; ids go from 0 to %d", uint32(noID), uint32(noID-1))
	case len(u.AdditionalGids) > maxGroups:
		return invalid("process.user.additionalGids has %d groups, the kernel takes %d", len(u.AdditionalGids), maxGroups)
	case u.Umask != nil && *u.Umask > 0o777:
		return invalid("process.user.umask 0%o is larger than 0777", *u.Umask)
	}
	return nil
}

func capabilities(p *specs.Process) error {
	c := p.Capabilities
	if c == nil {
		return nil
	}
	// Names that are no capabilities are left out with a warning by privs.
	for _, name := range c.Effective {
		if !slices.Contains(c.Permitted, name) {
			return invalid("process.capabilities.effective has %s, which is not in permitted", name)
		}
	}
	// Ambient capabilities that are not inheritable are in what `runc spec` writes, so
	// they are no mistake here; privs leaves them out, as runc and crun do.
	return nil
}

var limitNames = []string{"RLIMIT_AS", "RLIMIT_CORE", "RLIMIT_CPU", "RLIMIT_DATA", "RLIMIT_FSIZE", "RLIMIT_LOCKS", "RLIMIT_MEMLOCK", "RLIMIT_MSGQUEUE",
	"RLIMIT_NICE", "RLIMIT_NOFILE", "RLIMIT_NPROC", "RLIMIT_RSS", "RLIMIT_RTPRIO", "RLIMIT_RTTIME", "RLIMIT_SIGPENDING", "RLIMIT_STACK"}

func rlimits(p *specs.Process) error {
	var seen []string
	for _, r := range p.Rlimits {
		switch {
		case !slices.Contains(limitNames, r.Type):
			return invalid("process.rlimits has %s, which is no resource limit; write it as RLIMIT_NOFILE", quoted(r.Type))
		case slices.Contains(seen, r.Type):
			return invalid("process.rlimits has %s twice", r.Type)
		case r.Soft > r.Hard:
			return invalid("process.rlimits has a soft limit of %d for %s, more than its hard limit of %d", r.Soft, r.Type, r.Hard)
		}
		seen = append(seen, r.Type)
	}
	return nil
}

func scheduling(p *specs.Process) error {
	if o := p.OOMScoreAdj; o != nil && (*o < -1000 || *o > 1000) {
		return invalid("process.oomScoreAdj %d is not between -1000 and 1000", *o)
	}
	if io := p.IOPriority; io != nil && (io.Priority < 0 || io.Priority > 7) {
		return invalid("process.ioPriority.priority %d is not between 0 and 7", io.Priority)
	}
	for _, s := range []struct{ field, value string }{{"process.apparmorProfile", p.ApparmorProfile}, {"process.selinuxLabel", p.SelinuxLabel}} {
		if err := text(s.field, s.value); err != nil {
			return err
		}
	}
	return nil
}
