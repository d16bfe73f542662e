package server

import (
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/logs/jsonfile"
	"github.com/sampan-containers/sampan/shim/wire"
)

// initEnded begins the end: the first process has been reaped.
func (s *shim) initEnded() {
	p := s.init
	// With a pid namespace of its own nobody is left to write. Without one, what
	// others write until they are killed is read below.
	p.drain()
	p.release()

	r := wire.ExitRecord{Code: p.code(), Signal: p.signal(), At: p.at, Error: s.problem}
	if oom, err := s.container.OOMKilled(); err == nil {
		r.OOM = oom
	}
	s.exit = r
	if s.exitPath != "" {
		if err := writeExit(s.exitPath, &r, s.exitSync); err != nil {
			s.warn("the exit record cannot be written: " + err.Error())
		}
	}
	s.phase = phaseCleaning
	// Beside the loop: a process in uninterruptible sleep may hold it up, and
	// clients still wait for their output.
	container := s.container
	go func() {
		err := container.Destroy()
		s.post(func() { s.destroyed(err) })
	}()
}

// destroyed is called when cgroup and namespaces are gone.
func (s *shim) destroyed(err error) {
	if err != nil {
		s.exit.Error = err.Error()
		if s.exitPath != "" {
			writeExit(s.exitPath, &s.exit, s.exitSync)
		}
	}
	s.init.drain()
	s.init.closeStreams()
	s.endExecs()
	if s.log != nil {
		if err := s.log.Close(); err != nil {
			s.warn(err.Error())
		}
	}
	s.closePorts()
	s.unlisten()
	s.phase = phaseDelivered
	for _, c := range s.conns {
		if c.greeted {
			c.event(wire.TypeExit, &s.exit)
			c.since = s.now
		}
	}
	s.mem.stop()
}

// endExecs settles the execs that the end of the container took along.
func (s *shim) endExecs() {
	for _, p := range s.execs {
		if !p.running {
			continue
		}
		if p.ready(0); p.running {
			// Killed, but not a zombie yet: the outcome is known.
			p.ended(unix.WaitStatus(unix.SIGKILL))
		}
	}
}

// exitSpace is reserved for the record when the container starts.
const exitSpace = 4096

// prepareExit removes the record of an earlier run and reserves the space for
// this one's: a disk that fills up meanwhile must not cost the exit code.
func prepareExit(path string) error {
	if err := unix.Unlink(path); err != nil && err != unix.ENOENT {
		return &os.PathError{Op: "remove the exit record of an earlier run", Path: path, Err: err}
	}
	temp := path + ".new"
	fd, err := unix.Open(temp, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return &os.PathError{Op: "create the exit record", Path: temp, Err: err}
	}
	defer unix.Close(fd)
	err = unix.Fallocate(fd, 0, 0, exitSpace)
	if err != nil && err != unix.EOPNOTSUPP && err != unix.ENOSYS {
		return &os.PathError{Op: "reserve space for the exit record", Path: temp, Err: err}
	}
	return nil
}

// writeExit stores the record so that a crash leaves the old state or the new
// one. sync decides whether it must survive a loss of power.
func writeExit(path string, r *wire.ExitRecord, sync bool) error {
	temp := path + ".new"
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
		return syncDir(filepath.Dir(path))
	}
	return nil
}

func syncDir(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	return os.NewSyscallError("fsync", unix.Fsync(fd))
}

// appendExit writes the record as JSON; handle.ReadExit reads it.
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
	b = jsonfile.AppendEscaped(b, []byte(r.Error))
	return append(b, "\"}\n"...)
}
