package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/durable"
	"github.com/sampan-containers/sampan/state"
)

const (
	stateFile     = "state.db"
	containersDir = "containers"
	// lostDir keeps what containers wrote whose records are gone.
	lostDir = "lost"
)

// OpenState opens the data root's state store. A damaged one is an error that says
// what to do. Where there is none, but containers of an earlier one, their
// directories are put aside under lost/: without records they would be swept away,
// and with them what the containers wrote. It returns where to, or "".
func OpenState(dataRoot string) (_ *state.Store, aside string, _ error) {
	path := filepath.Join(dataRoot, stateFile)
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		if aside, err = putAside(dataRoot, time.Now()); err != nil {
			return nil, "", err
		}
	}
	store, err := state.Open(path)
	if errors.Is(err, fault.Unavailable) {
		err = fmt.Errorf("%w: put a copy of it back, or move it away (mv %s %s.damaged) and start again: "+
			"volumes stay then, what containers wrote goes to %s, and images, networks and the records of containers are lost",
			err, path, path, filepath.Join(dataRoot, lostDir))
	}
	return store, aside, err
}

func putAside(dataRoot string, now time.Time) (string, error) {
	from := filepath.Join(dataRoot, containersDir)
	entries, err := os.ReadDir(from)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("look for containers without records: %w", err)
	}
	lost := filepath.Join(dataRoot, lostDir)
	if err := os.MkdirAll(lost, 0o700); err != nil {
		return "", fmt.Errorf("keep what containers wrote: %w", err)
	}
	to := filepath.Join(lost, containersDir+"-"+now.UTC().Format("20060102T150405.000"))
	// On disk before there is a store again: with that, directories without records are
	// swept away.
	if err := errors.Join(os.Rename(from, to), durable.SyncDir(lost), durable.SyncDir(dataRoot)); err != nil {
		return "", fmt.Errorf("keep what containers wrote: %w", err)
	}
	return to, nil
}
