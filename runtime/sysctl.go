package runtime

import (
	"sort"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/weak"
	"github.com/sampan-containers/sampan/runtime/launch"
)

// sysctls by namespace: a key belongs to the namespace of the first rule whose
// prefix it has, or whose whole name it is. All other keys are the host's.
var sysctlRules = []struct {
	key    string
	prefix bool
	flag   uintptr
	ns     string
}{
	{"kernel.msgmax", false, unix.CLONE_NEWIPC, "ipc"},
	{"kernel.msgmnb", false, unix.CLONE_NEWIPC, "ipc"},
	{"kernel.msgmni", false, unix.CLONE_NEWIPC, "ipc"},
	{"kernel.sem", false, unix.CLONE_NEWIPC, "ipc"},
	{"kernel.shmall", false, unix.CLONE_NEWIPC, "ipc"},
	{"kernel.shmmax", false, unix.CLONE_NEWIPC, "ipc"},
	{"kernel.shmmni", false, unix.CLONE_NEWIPC, "ipc"},
	{"kernel.shm_rmid_forced", false, unix.CLONE_NEWIPC, "ipc"},
	{"fs.mqueue.", true, unix.CLONE_NEWIPC, "ipc"},
	{"net.", true, unix.CLONE_NEWNET, "network"},
	{"kernel.domainname", false, unix.CLONE_NEWUTS, "uts"},
	{"user.", true, unix.CLONE_NEWUSER, "user"},
}

// checkSysctl returns the file below /proc for a key, or says why the container may
// not set it (CVE-2022-0811: what reaches /proc/sys decides over the whole host).
func checkSysctl(key, value string, ns *namespaces) (string, error) {
	dotted := key
	// As sysctl(8): whichever of "." and "/" comes first separates, the other is
	// part of a name, as in net/ipv4/conf/eth0.100/forwarding.
	if i := strings.IndexAny(key, "./"); i >= 0 && key[i] == '/' {
		dotted = strings.NewReplacer("/", ".", ".", "/").Replace(key)
	}
	file := strings.NewReplacer(".", "/", "/", ".").Replace(dotted)
	for _, part := range strings.Split(file, "/") {
		if part == "" || part == "." || part == ".." {
			return "", fault.New(fault.Invalid, "sysctl %q: this is no name of a kernel parameter", key)
		}
	}
	if strings.ContainsAny(key+value, "\n\x00") {
		return "", fault.New(fault.Invalid, "sysctl %q: name and value must be one line", key)
	}
	for _, r := range sysctlRules {
		if r.prefix && strings.HasPrefix(dotted, r.key) || dotted == r.key {
			if !ns.private(r.flag) {
				return "", fault.New(fault.Invalid, "sysctl %q: it would change the host, since the container uses the host's %s namespace", key, r.ns)
			}
			return "sys/" + file, nil
		}
	}
	if weak.Off("sysctl") {
		return "sys/" + file, nil
	}
	return "", fault.New(fault.Invalid, "sysctl %q: it belongs to no namespace, so it would change the host; set it there", key)
}

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
		file, err := checkSysctl(k, value, p.ns)
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
