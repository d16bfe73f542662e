// Package quota limits what a directory may hold by a project quota of its file
// system: xfs, or ext4 with the features quota and project, mounted with prjquota.
//
// The directory and all that is made below it belong to a project, a number that the
// file system keeps with each inode, so nothing has to be recorded elsewhere. The
// number is drawn, and taken if nobody uses it: daemons and tools that share a file
// system do not get into each other's way.
//
// Limits: Linux 5.14 (quotactl_fd(2)); a directory that is limited must be empty, since
// what is there already does not follow; on ext4 a process with CAP_SYS_RESOURCE passes
// over a quota, but for the upper directory of an overlay, which writes without it.
package quota

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ErrNotSupported is wrapped by Probe's error for a file system without project quotas.
var ErrNotSupported = errors.New("the file system has no project quotas in force (they need xfs, or ext4 with the features quota and project, mounted with the option prjquota)")

// Of linux/quota.h, linux/dqblk_xfs.h and linux/fs.h.
const (
	sysQuotactlFd = 443 // the same number on every architecture

	projectQuota = 2
	getQuota     = 0x800007
	setQuota     = 0x800008
	getState     = 'X'<<8 + 8

	limitBlocks    = 1      // QIF_BLIMITS
	inForce        = 1 << 5 // FS_QUOTA_PDQ_ENFD
	stateVersion   = 1
	blockUnit      = 1024 // of a limit (QIF_DQBLKSIZE)
	getAttributes  = 0x801c581f
	setAttributes  = 0x401c5820
	inheritProject = 0x200 // FS_XFLAG_PROJINHERIT

	// Numbers below are left to the administrator's own projects.
	firstProject = 1 << 20
	lastProject  = 1 << 31
	drawings     = 64
)

// limits is struct if_dqblk.
type limits struct {
	hardBlocks, softBlocks, usedBytes, hardInodes, softInodes, usedInodes uint64
	blockTime, inodeTime                                                  uint64
	valid, _                                                              uint32
}

// state is struct fs_quota_statv.
type state struct {
	version  int8
	_        uint8
	flags    uint16
	inMemory uint32
	files    [3][24]byte
	_        [6]int32
	_        [7]uint64
}

// attributes is struct fsxattr.
type attributes struct {
	flags, extentSize, extents, project, cowExtentSize uint32
	_                                                  [8]byte
}

// Probe tells whether project quotas are in force where dir is: nil, or why not.
func Probe(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	s := state{version: stateVersion}
	switch err := control(d, getState, 0, unsafe.Pointer(&s)); {
	case errors.Is(err, unix.ENOSYS) && !hasCall(d):
		return fmt.Errorf("limits by project quota need Linux 5.14: %w", err)
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.ESRCH), err == nil && s.flags&inForce == 0:
		return ErrNotSupported
	case err != nil:
		return fmt.Errorf("%w: %w", ErrNotSupported, err)
	}
	return nil
}

// hasCall tells a kernel without quotactl_fd from a file system without quotas, which
// answer alike: an unknown command is EINVAL for the call itself.
func hasCall(d *os.File) bool {
	_, _, errno := unix.Syscall6(sysQuotactlFd, d.Fd(), 0xff<<8|0xff, 0, 0, 0, 0)
	return errno != unix.ENOSYS
}

// Limit gives the empty directories dirs to one new project, which may hold so many
// bytes. They are of one file system.
func Limit(bytes int64, dirs ...string) error {
	first, err := os.Open(dirs[0])
	if err != nil {
		return err
	}
	defer first.Close()
	project, err := draw(first)
	if err != nil {
		return err
	}
	l := limits{hardBlocks: uint64((bytes + blockUnit - 1) / blockUnit), valid: limitBlocks}
	if err := control(first, setQuota, project, unsafe.Pointer(&l)); err != nil {
		return fmt.Errorf("set the quota of %s: %w", dirs[0], err)
	}
	for _, dir := range dirs {
		if err := join(dir, project); err != nil {
			return errors.Join(fmt.Errorf("give %s to project %d: %w", dir, project, err), release(first, project))
		}
	}
	return nil
}

// Release takes the limit off the project of dir, if it has one of ours. The files stay
// in the project, whose number is free again when they are gone.
func Release(dir string) error {
	d, err := os.Open(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer d.Close()
	a, err := read(d)
	if err != nil || a.project < firstProject {
		return err
	}
	return release(d, a.project)
}

// Of returns what the project of dir holds and may hold, in bytes; limit 0 is none.
func Of(dir string) (used, limit int64, err error) {
	d, err := os.Open(dir)
	if err != nil {
		return 0, 0, err
	}
	defer d.Close()
	a, err := read(d)
	if err != nil || a.project < firstProject {
		return 0, 0, err
	}
	var l limits
	err = control(d, getQuota, a.project, unsafe.Pointer(&l))
	return int64(l.usedBytes), int64(l.hardBlocks) * blockUnit, err
}

func release(d *os.File, project uint32) error {
	l := limits{valid: limitBlocks}
	if err := control(d, setQuota, project, unsafe.Pointer(&l)); err != nil {
		return fmt.Errorf("release project %d of %s: %w", project, d.Name(), err)
	}
	return nil
}

// draw finds a project that has neither files nor limits.
func draw(d *os.File) (uint32, error) {
	for range drawings {
		project := firstProject + rand.Uint32N(lastProject-firstProject)
		var l limits
		err := control(d, getQuota, project, unsafe.Pointer(&l))
		switch {
		case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ESRCH) && Probe(d.Name()) == nil:
			return project, nil // xfs: nothing is known of it
		case err != nil:
			return 0, fmt.Errorf("%w: %w", ErrNotSupported, err)
		case l.usedBytes == 0 && l.usedInodes == 0 && l.hardBlocks == 0 && l.softBlocks == 0 && l.hardInodes == 0 && l.softInodes == 0:
			return project, nil
		}
	}
	return 0, errors.New("no free project number was found")
}

func join(dir string, project uint32) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	a, err := read(d)
	if err != nil {
		return err
	}
	a.project, a.flags = project, a.flags|inheritProject
	return ioctl(d, setAttributes, unsafe.Pointer(&a))
}

func read(d *os.File) (a attributes, err error) {
	err = ioctl(d, getAttributes, unsafe.Pointer(&a))
	return a, err
}

func ioctl(d *os.File, request uintptr, arg unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, d.Fd(), request, uintptr(arg)); errno != 0 {
		return errno
	}
	return nil
}

func control(d *os.File, command uint32, project uint32, arg unsafe.Pointer) error {
	if _, _, errno := unix.Syscall6(sysQuotactlFd, d.Fd(), uintptr(command<<8|projectQuota), uintptr(project), uintptr(arg), 0, 0); errno != 0 {
		return errno
	}
	return nil
}
