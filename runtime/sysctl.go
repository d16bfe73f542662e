package runtime

import (
	"sort"
	"syscall"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/runtime/launch"
	"github.com/sampan-containers/sampan/runtime/sysctl"
)

// sysctls adds the writes, in the order of their names: a repeatable launch is
// easier to understand.
func (p *plan) sysctls() error {
	keys := make([]string, 0, len(p.linux.Sysctl))
	for k := range p.linux.Sysctl {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, k := range keys {
		value := p.linux.Sysctl[k]
		file, err := sysctl.File(k, value, p.ns.private)
		if err != nil {
			return err
		}
		proc, err := p.procfs()
		if err != nil {
			return err
		}
		p.b.AtSite(launch.Site{What: "set sysctl " + k + " to " + value, Class: fault.Invalid, Hints: []launch.Hint{
			{Errno: syscall.ENOENT, Text: "the kernel has no such parameter in this namespace"},
			{Errno: syscall.EINVAL, Text: "the kernel does not take this value"},
			{Errno: syscall.EACCES, Text: "the parameter is read-only here"},
		}})
		p.b.WriteFile(proc, file, value)
	}
	return nil
}
