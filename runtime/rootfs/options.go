package rootfs

import (
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// flag is what a mount option without a value means, for mount(2) and for
// mount_setattr(2). A mount option that only exists for a whole file system has no
// attr.
type flag struct {
	clear bool
	ms    uintptr
	attr  uint64
	atime bool // one of the values of the kernel's atime field
}

// flagOptions are the options of mount(8) that the OCI specification lists. Each
// that has an attr also exists with the prefix "r", for all mounts below.
var flagOptions = map[string]flag{
	"async":         {true, unix.MS_SYNCHRONOUS, 0, false},
	"atime":         {true, unix.MS_NOATIME, unix.MOUNT_ATTR_NOATIME, true},
	"defaults":      {},
	"dev":           {true, unix.MS_NODEV, unix.MOUNT_ATTR_NODEV, false},
	"diratime":      {true, unix.MS_NODIRATIME, unix.MOUNT_ATTR_NODIRATIME, false},
	"dirsync":       {false, unix.MS_DIRSYNC, 0, false},
	"exec":          {true, unix.MS_NOEXEC, unix.MOUNT_ATTR_NOEXEC, false},
	"iversion":      {false, unix.MS_I_VERSION, 0, false},
	"lazytime":      {false, unix.MS_LAZYTIME, 0, false},
	"loud":          {true, unix.MS_SILENT, 0, false},
	"mand":          {false, unix.MS_MANDLOCK, 0, false},
	"noatime":       {false, unix.MS_NOATIME, unix.MOUNT_ATTR_NOATIME, true},
	"nodev":         {false, unix.MS_NODEV, unix.MOUNT_ATTR_NODEV, false},
	"nodiratime":    {false, unix.MS_NODIRATIME, unix.MOUNT_ATTR_NODIRATIME, false},
	"noexec":        {false, unix.MS_NOEXEC, unix.MOUNT_ATTR_NOEXEC, false},
	"noiversion":    {true, unix.MS_I_VERSION, 0, false},
	"nolazytime":    {true, unix.MS_LAZYTIME, 0, false},
	"nomand":        {true, unix.MS_MANDLOCK, 0, false},
	"norelatime":    {true, unix.MS_RELATIME, unix.MOUNT_ATTR_RELATIME, true},
	"nostrictatime": {true, unix.MS_STRICTATIME, unix.MOUNT_ATTR_STRICTATIME, true},
	"nosuid":        {false, unix.MS_NOSUID, unix.MOUNT_ATTR_NOSUID, false},
	"nosymfollow":   {false, unix.MS_NOSYMFOLLOW, unix.MOUNT_ATTR_NOSYMFOLLOW, false},
	"relatime":      {false, unix.MS_RELATIME, unix.MOUNT_ATTR_RELATIME, true},
	"ro":            {false, unix.MS_RDONLY, unix.MOUNT_ATTR_RDONLY, false},
	"rw":            {true, unix.MS_RDONLY, unix.MOUNT_ATTR_RDONLY, false},
	"silent":        {false, unix.MS_SILENT, 0, false},
	"strictatime":   {false, unix.MS_STRICTATIME, unix.MOUNT_ATTR_STRICTATIME, true},
	"suid":          {true, unix.MS_NOSUID, unix.MOUNT_ATTR_NOSUID, false},
	"symfollow":     {true, unix.MS_NOSYMFOLLOW, unix.MOUNT_ATTR_NOSYMFOLLOW, false},
	"sync":          {false, unix.MS_SYNCHRONOUS, 0, false},
}

// propagationOptions are the types of propagation, without the prefix "r".
var propagationOptions = map[string]uintptr{
	"private":    unix.MS_PRIVATE,
	"shared":     unix.MS_SHARED,
	"slave":      unix.MS_SLAVE,
	"unbindable": unix.MS_UNBINDABLE,
}

// attrs is a change of mount flags for mount_setattr.
type attrs struct{ set, clear uint64 }

// apply adds one option. The atime options are one field of the kernel's, which
// must be cleared to be set.
func (a *attrs) apply(f flag) {
	const atime = unix.MOUNT_ATTR__ATIME
	switch {
	case f.atime && f.clear: // back to the default, relatime
		a.clear |= atime
		a.set &^= atime
	case f.atime:
		a.clear |= atime
		a.set = a.set&^atime | f.attr
	case f.clear:
		a.clear |= f.attr
		a.set &^= f.attr
	default:
		a.set |= f.attr
		a.clear &^= f.attr
	}
}

func (a attrs) empty() bool { return a.set == 0 && a.clear == 0 }

// options are a mount's options, sorted by what they are for.
type options struct {
	ms          uintptr // flags for mount(2)
	top, all    attrs   // flags of the mount, and of all mounts of its tree
	onlyFS      []string
	propagation uintptr // MS_* type or 0
	deepProp    bool    // for the mounts below too
	bind        bool
	deepBind    bool
	idmap       bool
	deepIDMap   bool
	remount     bool
	copyUp      bool     // a tmpfs begins with what it covers
	data        []string // what the file system itself takes
}

func parseOptions(list []string) options {
	var o options
	for _, opt := range list {
		if f, ok := flagOptions[opt]; ok {
			if f.clear {
				o.ms &^= f.ms
			} else {
				o.ms |= f.ms
			}
			o.top.apply(f)
			if f.attr == 0 && f.ms != 0 && !f.atime {
				o.onlyFS = append(o.onlyFS, opt)
			}
			continue
		}
		deep := strings.TrimPrefix(opt, "r")
		if f, ok := flagOptions[deep]; ok && (f.attr != 0 || f.atime) {
			o.all.apply(f)
			continue
		}
		if p, ok := propagationOptions[opt]; ok {
			o.propagation, o.deepProp = p, false
			continue
		}
		if p, ok := propagationOptions[deep]; ok {
			o.propagation, o.deepProp = p, true
			continue
		}
		switch opt {
		case "bind", "rbind":
			o.bind, o.deepBind = true, opt == "rbind"
		case "idmap", "ridmap":
			o.idmap, o.deepIDMap = true, opt == "ridmap"
		case "remount":
			o.remount = true
		case "tmpcopyup":
			o.copyUp = true
		default:
			o.data = append(o.data, opt)
		}
	}
	return o
}

// MountOptions lists the options that are ours, sorted; a file system has its own.
func MountOptions() []string {
	list := []string{"bind", "rbind", "idmap", "ridmap", "remount", "tmpcopyup"}
	for name, f := range flagOptions {
		list = append(list, name)
		if f.attr != 0 || f.atime {
			list = append(list, "r"+name)
		}
	}
	for name := range propagationOptions {
		list = append(list, name, "r"+name)
	}
	slices.Sort(list)
	return list
}
