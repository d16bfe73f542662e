// Package sysctl decides which kernel parameters a container may set: those of a
// namespace that is its own. What else reaches /proc/sys decides over the whole host
// (CVE-2022-0811).
package sysctl

import (
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/weak"
)

// rules by namespace: a key belongs to the namespace of the first rule whose
// prefix it has, or whose whole name it is. All other keys are the host's.
var rules = []struct {
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

// File returns the file below /proc for a key, or says why the container may not set
// it. private tells whether the container has a namespace (a CLONE_NEW* flag) of its own.
func File(key, value string, private func(flag uintptr) bool) (string, error) {
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
	for _, r := range rules {
		if r.prefix && strings.HasPrefix(dotted, r.key) || dotted == r.key {
			if !private(r.flag) {
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
