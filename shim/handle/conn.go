package handle

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/shim/wire"
)

// frame is one received frame.
type frame struct {
	wire.Header
	payload []byte
	files   []*os.File
}

func (f *frame) close() {
	for _, file := range f.files {
		file.Close()
	}
	f.files = nil
}

// readFrame reads one frame and its descriptors.
func readFrame(conn *net.UnixConn) (frame, error) {
	var head [wire.HeaderSize]byte
	// A shim sends at most one descriptor with a frame.
	var oob [64]byte
	n, oobn, flags, _, err := conn.ReadMsgUnix(head[:], oob[:])
	var f frame
	if err == nil && n == 0 {
		err = io.EOF
	}
	if oobn > 0 {
		f.files = received(oob[:oobn])
	}
	if err == nil && flags&unix.MSG_CTRUNC != 0 {
		err = wire.ErrMalformed
	}
	if err == nil && n < len(head) {
		_, err = io.ReadFull(conn, head[n:])
	}
	if err == nil {
		f.Header, err = wire.ParseHeader(head[:], wire.MaxResponse+1024)
	}
	if err == nil {
		f.payload = make([]byte, f.Length)
		_, err = io.ReadFull(conn, f.payload)
	}
	if err != nil {
		f.close()
		return frame{}, err
	}
	return f, nil
}

func received(oob []byte) []*os.File {
	var files []*os.File
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for i := range msgs {
		fds, err := unix.ParseUnixRights(&msgs[i])
		if err != nil {
			continue
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "from shim"))
		}
	}
	return files
}

// send writes one or more whole frames. When ctx ends in the middle, the write
// goes on in the background, because half a frame would break the stream for the
// calls of others; those then wait for it with their own contexts.
func (s *Shim) send(ctx context.Context, data []byte, files []*os.File) error {
	select {
	case s.writing <- struct{}{}:
	case <-ctx.Done():
		return s.slow(ctx)
	case <-s.done:
		return ErrLost
	}
	s.mu.Lock()
	conn := s.conn
	s.mu.Unlock()
	written := make(chan error, 1)
	go func() {
		written <- write(conn, data, files)
		<-s.writing
	}()
	select {
	case err := <-written:
		return err
	case <-ctx.Done():
		return s.slow(ctx)
	}
}

func (s *Shim) slow(ctx context.Context) error {
	return fault.New(fault.Deadline, "the supervisor of container %s does not answer: %w", s.id, context.Cause(ctx))
}

// write sends data with the files' descriptors on its first byte. The
// descriptors are duplicated, so that a caller whose context ended may close his.
func write(conn *net.UnixConn, data []byte, files []*os.File) error {
	var oob []byte
	if len(files) > 0 {
		fds := make([]int, 0, len(files))
		defer func() {
			for _, fd := range fds {
				unix.Close(fd)
			}
		}()
		for _, f := range files {
			fd, err := duplicate(f)
			if err != nil {
				return err
			}
			fds = append(fds, fd)
		}
		oob = unix.UnixRights(fds...)
	}
	n, _, err := conn.WriteMsgUnix(data, oob, nil)
	for err == nil && n < len(data) {
		var m int
		m, err = conn.Write(data[n:])
		n += m
	}
	return err
}

// duplicate avoids File.Fd, which would make the shared description blocking.
func duplicate(f *os.File) (int, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd, dupErr := -1, error(nil)
	if err := raw.Control(func(p uintptr) { fd, dupErr = unix.FcntlInt(p, unix.F_DUPFD_CLOEXEC, 3) }); err != nil {
		return -1, err
	}
	if dupErr != nil {
		return -1, fmt.Errorf("duplicate %s: %w", f.Name(), dupErr)
	}
	return fd, nil
}

// call sends a request and waits for its answer.
func (s *Shim) call(ctx context.Context, verb string, typ wire.Type, p wire.Payload, files []*os.File, want wire.Type) (frame, error) {
	answer := make(chan frame, 1)
	s.mu.Lock()
	s.next++
	if s.next == 0 {
		s.next = 1
	}
	id := s.next
	if s.waiting == nil {
		s.mu.Unlock()
		return frame{}, s.gone(verb)
	}
	s.waiting[id] = answer
	s.mu.Unlock()
	defer s.forget(id, answer)

	data := wire.Append(nil, typ, id, len(files), p)
	if len(data) > wire.MaxRequest {
		return frame{}, fault.New(fault.Invalid, "%s container %s: the request has %d bytes, the limit is %d", verb, s.id, len(data), wire.MaxRequest)
	}
	if err := s.send(ctx, data, files); err != nil {
		if s.lost() {
			return frame{}, s.gone(verb)
		}
		return frame{}, fmt.Errorf("%s container %s: %w", verb, s.id, err)
	}
	select {
	case f, ok := <-answer:
		switch {
		case !ok:
			return frame{}, s.gone(verb)
		case f.Type == want:
			return f, nil
		case f.Type == wire.TypeError:
			return frame{}, s.failure(verb, f.payload)
		}
		f.close()
		return frame{}, fmt.Errorf("%s container %s: the shim answered with frame type %d", verb, s.id, f.Type)
	case <-ctx.Done():
		return frame{}, fmt.Errorf("%s container %s: %w", verb, s.id, s.slow(ctx))
	}
}

// forget removes a request; an answer that crossed with the context's end is
// closed.
func (s *Shim) forget(id uint32, answer chan frame) {
	s.mu.Lock()
	if s.waiting != nil {
		delete(s.waiting, id)
	}
	s.mu.Unlock()
	select {
	case f := <-answer:
		f.close()
	default:
	}
}

func (s *Shim) lost() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waiting == nil
}

func (s *Shim) gone(verb string) error {
	return fault.New(fault.Conflict, "%s container %s: %w", verb, s.id, ErrEnded)
}

// read dispatches frames until the connection ends. A connection that breaks
// while the shim lives is made anew.
func (s *Shim) read(conn *net.UnixConn) {
	for {
		f, err := readFrame(conn)
		if err == nil {
			s.dispatch(f)
			continue
		}
		conn.Close()
		next := s.reconnect()
		if next == nil {
			break
		}
		conn = next
	}
	s.finish(nil)
	s.mu.Lock()
	dropped := s.dropped
	s.mu.Unlock()
	if !dropped {
		s.reap()
	}
}

// finish ends the run for every caller; r is nil when the shim was lost.
func (s *Shim) finish(r *wire.ExitRecord) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return
	}
	s.over, s.exit = true, r
	for _, answer := range s.waiting {
		close(answer)
	}
	s.waiting = nil
	close(s.done)
}

// reconnect returns a new connection, or nil when the run is over, the shim is
// gone or the daemon let go of it. Requests under way on the old connection
// fail, for nobody knows whether the shim has seen them.
func (s *Shim) reconnect() *net.UnixConn {
	s.mu.Lock()
	over := s.over || s.dropped || s.pid == 0
	if !over {
		for id, answer := range s.waiting {
			close(answer)
			delete(s.waiting, id)
		}
	}
	s.mu.Unlock()
	if over {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), reconnectWait)
	defer cancel()
	conn, err := dial(ctx, s.runDir)
	if err != nil {
		return nil
	}
	if err := s.greet(ctx, conn); err != nil {
		conn.Close()
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dropped {
		conn.Close()
		return nil
	}
	s.conn = conn
	return conn
}

// reconnectWait bounds the wait for a shim that broke its connection.
const reconnectWait = 5 * time.Second

func (s *Shim) dispatch(f frame) {
	switch {
	case f.Request != 0:
		s.mu.Lock()
		answer := s.waiting[f.Request]
		delete(s.waiting, f.Request)
		if answer != nil {
			answer <- f
			f.files = nil
		}
		s.mu.Unlock()
	case f.Type == wire.TypeExit:
		if r, err := wire.DecodeExitRecord(f.payload); err == nil {
			s.finish(r) // the shim may live on for a moment, for slow clients
		}
	case f.Type == wire.TypeWarning:
		if w, err := wire.DecodeWarning(f.payload); err == nil {
			s.warned(w.Text)
		}
	}
	f.close() // what was not handed on
}
