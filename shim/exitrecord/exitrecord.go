// Package exitrecord writes the file that tells how a container's run ended. The
// shim writes it before it takes anything of the container away, so that a daemon
// that was not there learns the exit code; the daemon reads it with
// shim/handle.ReadExit. Writing uses no reflection.
package exitrecord

import (
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/kernel/durable"
	"github.com/sampan-containers/sampan/logs/logfile"
	"github.com/sampan-containers/sampan/shim/wire"
)

// space is reserved for the record when the container starts.
const space = 4096

// Reserved is the file that stands for the record from before the launch to its end.
func Reserved(path string) string { return path + ".new" }

// Prepare removes the record of an earlier run and reserves the space for
// this one's: a disk that fills up meanwhile must not cost the exit code.
func Prepare(path string) error {
	if err := unix.Unlink(path); err != nil && err != unix.ENOENT {
		return &os.PathError{Op: "remove the exit record of an earlier run", Path: path, Err: err}
	}
	temp := Reserved(path)
	fd, err := unix.Open(temp, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return &os.PathError{Op: "create the exit record", Path: temp, Err: err}
	}
	defer unix.Close(fd)
	err = unix.Fallocate(fd, 0, 0, space)
	if err != nil && err != unix.EOPNOTSUPP && err != unix.ENOSYS {
		return &os.PathError{Op: "reserve space for the exit record", Path: temp, Err: err}
	}
	return nil
}

// Abandon gives back what Prepare reserved, for a start that failed.
func Abandon(path string) { unix.Unlink(Reserved(path)) }

// Write stores the record so that a crash leaves the old state or the new
// one. sync decides whether it must survive a loss of power.
func Write(path string, r *wire.ExitRecord, sync bool) error {
	temp := Reserved(path)
	fd, err := unix.Open(temp, unix.O_WRONLY|unix.O_CREAT|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return &os.PathError{Op: "create", Path: temp, Err: err}
	}
	b := appendExit(nil, r)
	n, err := unix.Pwrite(fd, b, 0)
	if err == nil && n < len(b) {
		err = unix.ENOSPC
	}
	if err == nil {
		err = unix.Ftruncate(fd, int64(len(b)))
	}
	if err == nil && sync {
		err = unix.Fsync(fd)
	}
	unix.Close(fd)
	if err == nil {
		err = unix.Rename(temp, path)
	}
	if err != nil {
		unix.Unlink(temp)
		return &os.PathError{Op: "write", Path: path, Err: err}
	}
	if sync {
		return durable.SyncDir(filepath.Dir(path))
	}
	return nil
}

// appendExit writes the record as JSON; shim/handle reads it.
func appendExit(b []byte, r *wire.ExitRecord) []byte {
	b = append(b, `{"code":`...)
	b = strconv.AppendInt(b, int64(r.Code), 10)
	b = append(b, `,"signal":`...)
	b = strconv.AppendInt(b, int64(r.Signal), 10)
	b = append(b, `,"oom":`...)
	b = strconv.AppendBool(b, r.OOM)
	b = append(b, `,"at":"`...)
	b = r.At.UTC().AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","error":"`...)
	b = logfile.AppendEscaped(b, []byte(r.Error))
	return append(b, "\"}\n"...)
}
