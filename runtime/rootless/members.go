package rootless

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
)

// Members lists the processes of the PID namespace of a process, without those of
// namespaces below it.
func Members(pid int) ([]int, error) {
	var want unix.Stat_t
	if err := unix.Stat("/proc/"+strconv.Itoa(pid)+"/ns/pid", &want); err != nil {
		return nil, fmt.Errorf("find the processes of the container: %w", err)
	}
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, name := range names {
		var st unix.Stat_t
		n, err := strconv.Atoi(name)
		if err == nil && unix.Fstatat(int(dir.Fd()), name+"/ns/pid", &st, 0) == nil && st.Ino == want.Ino && st.Dev == want.Dev {
			pids = append(pids, n)
		}
	}
	slices.Sort(pids)
	return pids, nil
}

// endTime bounds how long the end of a killed process is waited for.
const endTime = 10 * time.Second

// Ended waits for the end of a process that was killed.
func Ended(ctx context.Context, pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	wait := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for end := time.Now().Add(endTime); time.Now().Before(end) && ctx.Err() == nil; {
		n, err := unix.Poll(wait, int(time.Until(end).Milliseconds()))
		if n > 0 || err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
	}
	return fault.New(fault.Deadline, "process %d does not end after SIGKILL", pid)
}
