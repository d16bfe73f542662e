// Package rootless lets somebody who is not root make containers: it makes a user
// namespace in which the caller is root, maps the ids that the container asks for, and
// executes the program once more in there. What runs in it is the runtime as it is for
// root; see Launch's nested case for what a user namespace forbids even to its root.
//
// The maps are the container's own, so the namespace is the container's too. A map of the
// caller's own id alone the kernel takes from anybody; more ids come from /etc/subuid and
// /etc/subgid, by newuidmap(1) and newgidmap(1).
//
// Everything but the making of a container (exec, kill, state, …) needs none of this: the
// owner of a user namespace has all rights in it from outside.
package rootless

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/runtime/launch"
)

// Process is the program in the user namespace. It is a child of the caller, who reaps it.
type Process struct {
	Pid   int
	PidFD *os.File
}

// Enter starts the running program with other arguments as root of the user namespace that
// a specification describes, in a mount namespace that belongs to it. Everything else is
// inherited: environment, directory, descriptors without close-on-exec.
func Enter(s *specs.Spec, args []string) (_ *Process, retErr error) {
	ns, err := userNamespace(s)
	if err != nil {
		return nil, err
	}
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return nil, fmt.Errorf("open the running program: %w", err)
	}
	defer self.Close()
	b := launch.NewBuilder()
	defer b.Release()
	flags := uintptr(unix.CLONE_NEWUSER | unix.CLONE_NEWNS)
	if ns.Path != "" {
		join, err := os.Open(ns.Path)
		if err != nil {
			return nil, fault.New(fault.Invalid, "join the user namespace %s: %w", ns.Path, err)
		}
		defer join.Close()
		flags = 0
		b.At("join the user namespace "+ns.Path,
			launch.Hint{Errno: syscall.EPERM, Text: "it belongs to somebody else"},
			launch.Hint{Errno: syscall.EINVAL, Text: "it is no user namespace, or the one this program is in"})
		b.Setns(launch.Int(int(join.Fd())), unix.CLONE_NEWUSER)
		b.At("make a mount namespace in the user namespace")
		b.Unshare(unix.CLONE_NEWNS)
	} else {
		b.At("wait for the id maps")
		b.Wait()
	}
	b.At("become root of the user namespace", launch.Hint{Errno: syscall.EINVAL, Text: "its maps have no root"})
	zero := launch.Int(0)
	b.Call(unix.SYS_SETRESGID, zero, zero, zero)
	b.Call(unix.SYS_SETRESUID, zero, zero, zero)
	b.At("execute this program in the user namespace")
	b.Call(unix.SYS_RT_SIGPROCMASK, launch.Int(unix.SIG_SETMASK), b.Space(8).Addr(), zero, launch.Int(8))
	b.Call(unix.SYS_EXECVEAT, launch.Int(int(self.Fd())), b.Str(""), b.Strs(args), b.Strs(os.Environ()), launch.Int(unix.AT_EMPTY_PATH))
	program, err := b.Finish()
	if err != nil {
		return nil, err
	}
	child, err := program.Start(launch.StartOptions{Flags: flags})
	if err != nil {
		return nil, forbidden(err)
	}
	defer child.Close()
	defer func() {
		if retErr != nil {
			child.Kill()
			child.PidFD.Close()
		}
	}()
	if flags != 0 {
		if m, err := child.Next(); err != nil || m.Kind != launch.Waits {
			return nil, fmt.Errorf("make a user namespace: %w", err)
		}
		if err := writeMaps(child.Pid, s.Linux); err != nil {
			return nil, err
		}
		if err := child.Continue(); err != nil {
			return nil, err
		}
	}
	// The end of the conversation without a failure is the execve.
	if _, err := child.Next(); err == nil || err.Error() != "EOF" {
		return nil, restricted(err)
	}
	return &Process{Pid: child.Pid, PidFD: child.PidFD}, nil
}

// userNamespace checks that the specification is one that can do without root.
func userNamespace(s *specs.Spec) (*specs.LinuxNamespace, error) {
	const how = "; make one with sampan-runtime spec --rootless"
	var ns *specs.LinuxNamespace
	if s.Linux != nil {
		for i := range s.Linux.Namespaces {
			if s.Linux.Namespaces[i].Type == specs.UserNamespace {
				ns = &s.Linux.Namespaces[i]
			}
		}
	}
	switch {
	case ns == nil:
		return nil, fault.New(fault.Invalid, "rootless container requires user namespaces: linux.namespaces of config.json has none"+how)
	case ns.Path != "":
		return ns, nil
	case len(s.Linux.UIDMappings) == 0:
		return nil, fault.New(fault.Invalid, "rootless containers requires at least one UID mapping: linux.uidMappings is empty"+how)
	case len(s.Linux.GIDMappings) == 0:
		return nil, fault.New(fault.Invalid, "rootless containers requires at least one GID mapping: linux.gidMappings is empty"+how)
	}
	// Root in there keeps the record in here, in a directory of the caller's.
	if inside(s.Linux.UIDMappings, os.Geteuid()) != 0 {
		return nil, fault.New(fault.Invalid, "linux.uidMappings must make root of the user who calls (containerID 0 is hostID %d), since that is who owns the container's files and its record", os.Geteuid())
	}
	if inside(s.Linux.GIDMappings, os.Getegid()) != 0 {
		return nil, fault.New(fault.Invalid, "linux.gidMappings must make group 0 of the group of the user who calls (containerID 0 is hostID %d)", os.Getegid())
	}
	return ns, nil
}

// inside is what an id outside is inside, or -1.
func inside(maps []specs.LinuxIDMapping, id int) int64 {
	for _, m := range maps {
		if uint32(id) >= m.HostID && uint32(id)-m.HostID < m.Size {
			return int64(m.ContainerID) + int64(uint32(id)-m.HostID)
		}
	}
	return -1
}

// Entered is the specification as it holds in the user namespace: that is there already.
func Entered(s *specs.Spec) *specs.Spec {
	in, linux := *s, *s.Linux
	in.Linux = &linux
	linux.UIDMappings, linux.GIDMappings = nil, nil
	linux.Namespaces = nil
	for _, ns := range s.Linux.Namespaces {
		if ns.Type != specs.UserNamespace {
			linux.Namespaces = append(linux.Namespaces, ns)
		}
	}
	return &in
}

// forbidden names the switch that keeps a user from making a user namespace.
func forbidden(err error) error {
	if !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EUSERS) && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("make a user namespace: %w", err)
	}
	for _, s := range []struct{ file, off, name, on string }{
		{"/proc/sys/user/max_user_namespaces", "0", "user.max_user_namespaces", "15000"},
		{"/proc/sys/kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone", "1"},
	} {
		if sysctl(s.file) == s.off {
			return fault.New(fault.Forbidden, "make a user namespace: this machine forbids it to users: %s is %s; as root, run sysctl -w %s=%s", s.name, s.off, s.name, s.on)
		}
	}
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EUSERS):
		return fault.New(fault.Exhausted, "make a user namespace: user.max_user_namespaces (%s), or the 32nd level of nesting, is reached", sysctl("/proc/sys/user/max_user_namespaces"))
	case errors.Is(err, unix.EINVAL):
		return fault.New(fault.Unavailable, "make a user namespace: this kernel was built without them (CONFIG_USER_NS)")
	}
	return fault.New(fault.Forbidden, "make a user namespace: the kernel refuses it here: a seccomp profile, a security module or a chroot is in the way, or the user or group has no id in the namespace around it")
}

// restricted is for a user namespace that was made, and in which its root has no rights.
func restricted(err error) error {
	if err == nil {
		return errors.New("enter the user namespace: the process said something that it was not asked for")
	}
	const name = "kernel.apparmor_restrict_unprivileged_userns"
	if (errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES)) && sysctl("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1" {
		return fault.New(fault.Forbidden, "%w; %s is 1: load an AppArmor profile that allows userns to %s, or run sysctl -w %s=0 as root", err, name, os.Args[0], name)
	}
	return err
}

func sysctl(file string) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

// RuntimeDir is where a user's programs keep what does not survive a boot, or nothing.
func RuntimeDir() string {
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		return dir
	}
	dir := "/run/user/" + strconv.Itoa(os.Geteuid())
	var st unix.Stat_t
	if unix.Lstat(dir, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR || int(st.Uid) != os.Geteuid() {
		return ""
	}
	return dir
}
