// Package lent is where a shim keeps descriptors that the daemon works with, by
// name: the sockets of a container's resolver. They live as long as the container,
// and every daemon that comes gets copies, so that what arrives while none is there
// waits in the kernel (docs/networking.md, Names). An empty Store takes no memory of its own.
package lent

import (
	"errors"

	"golang.org/x/sys/unix"
)

// MaxKept bounds the descriptors of one Store.
const MaxKept = 64

// Store holds descriptors. It is for one goroutine.
type Store struct {
	names []string
	fds   []int
}

// Put takes over fd, in every case; one of the same name is closed.
func (s *Store) Put(name string, fd int) error {
	s.Drop(name)
	if len(s.fds) >= MaxKept {
		unix.Close(fd)
		return errors.New("the container's supervisor holds as many descriptors as it may for the daemon")
	}
	s.names, s.fds = append(s.names, name), append(s.fds, fd)
	return nil
}

// Copy returns a duplicate, which is the caller's.
func (s *Store) Copy(name string) (int, error) {
	i := s.find(name)
	if i < 0 {
		return -1, errors.New("the container's supervisor holds no descriptor " + name)
	}
	fd, err := unix.FcntlInt(uintptr(s.fds[i]), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return -1, errors.New("duplicate the descriptor " + name + ": " + err.Error())
	}
	return fd, nil
}

// Drop closes the descriptor of that name, if there is one.
func (s *Store) Drop(name string) {
	i := s.find(name)
	if i < 0 {
		return
	}
	unix.Close(s.fds[i])
	s.names = append(s.names[:i], s.names[i+1:]...)
	s.fds = append(s.fds[:i], s.fds[i+1:]...)
}

// Close closes all.
func (s *Store) Close() {
	for _, fd := range s.fds {
		unix.Close(fd)
	}
	s.names, s.fds = nil, nil
}

func (s *Store) find(name string) int {
	for i, n := range s.names {
		if n == name {
			return i
		}
	}
	return -1
}
