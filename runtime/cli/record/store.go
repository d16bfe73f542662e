package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/weak"
	"github.com/sampan-containers/sampan/runtime/ocijson"
)

// DefaultRoot is where root's records lie.
const DefaultRoot = "/run/sampan-runtime"

const maxID = 255

// Store is the directory of all records.
type Store struct {
	Root string
	// Sticky tells that Root lies in a user's runtime directory: what tidies that leaves
	// alone what has the sticky bit (XDG base directories).
	Sticky bool
}

func checkID(id string) error {
	if weak.Off("names") {
		return nil
	}
	ok := id != "" && id != "." && id != ".." && len(id) <= maxID
	for i := 0; ok && i < len(id); i++ {
		c := id[i]
		ok = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '+' || c == '-' || c == '.'
	}
	if !ok {
		return fault.New(fault.Invalid, "container id %.80q is not made of up to %d letters, digits and _ + - .", id, maxID)
	}
	return nil
}

func (s *Store) container(id string) (*Container, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	return &Container{Record: Record{ID: id}, dir: filepath.Join(s.Root, id)}, nil
}

// Make creates the directory of a new container and locks it.
func (s *Store) Make(id string) (*Container, error) {
	k, err := s.container(id)
	if err != nil {
		return nil, err
	}
	// The record holds the environment of the container, and the socket that
	// starts it: nobody else may look.
	if err := os.MkdirAll(s.Root, 0o700); err != nil {
		return nil, fmt.Errorf("make the root of the records: %w", err)
	}
	if s.Sticky {
		_ = os.Chmod(s.Root, 0o700|os.ModeSticky)
	}
	for {
		if err := os.Mkdir(k.dir, 0o700); err != nil {
			if errors.Is(err, os.ErrExist) {
				return nil, fault.New(fault.Conflict, "container with id exists: %s; delete it first, or choose another id", id)
			}
			return nil, fmt.Errorf("make the record of container %s: %w", id, err)
		}
		err := k.Lock()
		if errors.Is(err, fault.NotFound) {
			continue // a delete --force came in between
		}
		if err != nil {
			return nil, err
		}
		return k, nil
	}
}

// Open finds a container, locks it and reads its record.
func (s *Store) Open(id string) (*Container, error) {
	k, err := s.OpenUnread(id)
	if err != nil {
		return nil, err
	}
	if err := k.read(); err != nil {
		k.Close()
		return nil, err
	}
	return k, nil
}

// OpenUnread finds a container and locks it. There may be no record to read: a create
// may have been killed on its way.
func (s *Store) OpenUnread(id string) (*Container, error) {
	k, err := s.container(id)
	if err != nil {
		return nil, err
	}
	return k, k.Lock()
}

// Peek reads a container without its lock: lists must not wait for a command that
// is busy with one container.
func (s *Store) Peek(id string) (*Container, error) {
	k, err := s.container(id)
	if err != nil {
		return nil, err
	}
	if _, err := os.Lstat(k.dir); errors.Is(err, os.ErrNotExist) {
		return nil, fault.New(fault.NotFound, "container %s does not exist", id)
	}
	return k, k.read()
}

// Lock opens the directory and waits for its lock. A directory that was removed
// meanwhile is NotFound.
func (k *Container) Lock() error {
	fd, err := unix.Open(k.dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if errors.Is(err, unix.ENOENT) {
		return fault.New(fault.NotFound, "container %s does not exist", k.ID)
	}
	if err != nil {
		return fmt.Errorf("open the record of container %s: %w", k.ID, err)
	}
	k.locked = os.NewFile(uintptr(fd), k.dir)
	for {
		if err = unix.Flock(fd, unix.LOCK_EX); err != unix.EINTR {
			break
		}
	}
	if err != nil {
		k.Close()
		return fmt.Errorf("lock the record of container %s: %w", k.ID, err)
	}
	var have, want unix.Stat_t
	if unix.Fstat(fd, &have) != nil || unix.Lstat(k.dir, &want) != nil || have.Ino != want.Ino || have.Dev != want.Dev {
		k.Close()
		return fault.New(fault.NotFound, "container %s does not exist", k.ID)
	}
	return nil
}

func (k *Container) read() error {
	f, err := os.Open(filepath.Join(k.dir, stateFile))
	if errors.Is(err, os.ErrNotExist) {
		return fault.New(fault.NotFound, "container %s was not created completely; remove it with delete --force", k.ID)
	}
	if err != nil {
		return fmt.Errorf("read the record of container %s: %w", k.ID, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxState))
	if err == nil {
		err = json.Unmarshal(data, &k.Record)
	}
	if err == nil {
		k.Spec, err = ocijson.Decode(k.Config)
	}
	if err != nil {
		return fmt.Errorf("read the record of container %s: %w", k.ID, err)
	}
	return nil
}
