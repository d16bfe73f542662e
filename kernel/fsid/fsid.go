// Package fsid lets one piece of code use file systems as another owner, with all
// rights of the process: what it makes belongs to that owner.
//
// On an idmapped mount the caller's own id may have no place, and then nothing can be
// made there at all (EOVERFLOW), whatever capabilities the caller has.
package fsid

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// As runs f on a thread whose file system ids are uid and gid (credentials(7)). f must
// do its work in its own goroutine. The caller needs CAP_SETUID and CAP_SETGID.
func As(uid, gid int, f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if err := set(uid, gid); err != nil {
			done <- err
			return // the thread, of unknown rights, ends with the goroutine
		}
		err := f()
		if set(0, 0) == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}

// Become changes the ids of this thread for good: the goroutine must be locked to it,
// and never unlocked.
func Become(uid, gid int) error { return set(uid, gid) }

// set changes the ids of this thread and keeps its capabilities: the kernel drops those
// for files when the id becomes another than 0.
func set(uid, gid int) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var caps [2]unix.CapUserData
	if err := unix.Capget(&header, &caps[0]); err != nil {
		return fmt.Errorf("read the thread's capabilities: %w", err)
	}
	// The calls return the former id and no error: what holds is asked for.
	unix.SetfsgidRetGid(gid)
	unix.SetfsuidRetUid(uid)
	haveUID, _ := unix.SetfsuidRetUid(-1)
	haveGID, _ := unix.SetfsgidRetGid(-1)
	if haveUID != uid || haveGID != gid {
		return fmt.Errorf("use files as owner %d:%d: the process may not change its ids", uid, gid)
	}
	if err := unix.Capset(&header, &caps[0]); err != nil {
		return fmt.Errorf("keep the thread's capabilities: %w", err)
	}
	return nil
}
