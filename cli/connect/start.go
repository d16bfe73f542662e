package connect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	daemonName = "sampand"
	daemonLog  = "/var/log/sampand.log"
	// readyTimeout bounds the wait for a daemon that was just started; its
	// own promise is 5 s with many containers to take over.
	readyTimeout = 15 * time.Second
	// rivalGrace: our daemon may lose the lock of the data root to one that
	// another client started at the same moment.
	rivalGrace = 3 * time.Second
	pollEvery  = 10 * time.Millisecond
	logTail    = 2048
)

var errNoBinary = errors.New("it does not run and cannot be started")

// startDaemon runs sampand in its own session and waits until its socket
// answers. It tells the user in one line.
func startDaemon(ctx context.Context, socket string, notices io.Writer) error {
	binary, err := findDaemon()
	if err != nil {
		return err
	}
	logFile, err := openLog(socket)
	if err != nil {
		return err
	}
	defer logFile.Close()
	offset, err := logFile.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("the log %s: %w", logFile.Name(), err)
	}
	cmd := exec.Command(binary)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = logFile, logFile
	// Its own session: ctrl-C and the end of the terminal are not for it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", binary, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()

	giveUp := time.NewTimer(readyTimeout)
	defer giveUp.Stop()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	alive := true
	for {
		if answers(socket) {
			if alive {
				fmt.Fprintf(notices, "%s was not running: started it in the background (pid %d, log %s)\n", daemonName, cmd.Process.Pid, logFile.Name())
			}
			return nil
		}
		select {
		case <-ended:
			alive, ended = false, nil
			giveUp.Reset(rivalGrace)
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-giveUp.C:
			if alive {
				return fmt.Errorf("%s (pid %d) was started but does not answer after %s, see %s", binary, cmd.Process.Pid, readyTimeout, logFile.Name())
			}
			return fmt.Errorf("%s was started but ended at once, see %s%s", binary, logFile.Name(), lastLine(logFile, offset))
		}
	}
}

func answers(socket string) bool {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// findDaemon looks beside this executable, then in PATH.
func findDaemon() (string, error) {
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), daemonName)
		if st, err := os.Stat(beside); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			return beside, nil
		}
	}
	path, err := exec.LookPath(daemonName)
	if err != nil {
		return "", fmt.Errorf("%w: %s is neither beside this program nor in PATH", errNoBinary, daemonName)
	}
	return path, nil
}

// openLog opens /var/log/sampand.log, or a file beside the socket where /var
// is read-only.
func openLog(socket string) (*os.File, error) {
	const flags = os.O_CREATE | os.O_RDWR | os.O_APPEND | syscall.O_NOFOLLOW
	f, err := os.OpenFile(daemonLog, flags, 0o600)
	if err == nil {
		return f, nil
	}
	dir := filepath.Dir(socket)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make %s for the daemon's log: %w", dir, err)
	}
	f, err = os.OpenFile(filepath.Join(dir, daemonName+".log"), flags, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open a log for the daemon: %w", err)
	}
	return f, nil
}

// lastLine is the last thing the daemon said, as the reason of its end.
func lastLine(f *os.File, from int64) string {
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil || end <= from {
		return ""
	}
	buf := make([]byte, min(end-from, logTail))
	n, _ := f.ReadAt(buf, end-int64(len(buf)))
	lines := strings.Split(strings.TrimSpace(string(buf[:n])), "\n")
	return ": " + lines[len(lines)-1]
}
