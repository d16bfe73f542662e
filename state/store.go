// Package state is the engine's one transactional store: containers, image
// names, networks, addresses and volumes live in one bbolt file, so that a
// change of several objects is one transaction. A value is JSON under a bucket
// and a key. Whatever a transaction committed survives kill -9 and power loss.
//
// The file carries a schema version. A newer binary migrates an older file
// before anything reads it; an older binary refuses a newer file by name.
package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/durable"
)

// Schema is the version of the layout this binary writes.
const Schema = 1

const (
	metaBucket = "meta"
	schemaKey  = "schema"
	// lockWait bounds how long Open waits for another daemon's file lock.
	lockWait = 200 * time.Millisecond
)

// Store is an open state file. It is safe for concurrent use.
type Store struct {
	db *bbolt.DB

	mu         sync.Mutex
	queue      []change // for the next commit of Batch and Later
	busy       bool     // somebody commits, or is about to
	committing sync.WaitGroup
}

// Tx is one transaction: all of it commits, or none.
type Tx struct{ tx *bbolt.Tx }

// Open opens or makes the store at path (mode 0600) and migrates it to Schema.
// It fails with fault.Conflict while another process has it open, and with
// fault.Unavailable when the file was written by a newer schema.
func Open(path string) (*Store, error) {
	s, err := open(path, &bbolt.Options{}, "--data-root")
	if err != nil {
		return nil, err
	}
	if err := durable.SyncDir(filepath.Dir(path)); err != nil {
		return nil, errors.Join(err, s.db.Close())
	}
	return s, nil
}

// open opens a store; flag is what gives another daemon another one.
func open(path string, o *bbolt.Options, flag string) (*Store, error) {
	o.Timeout, o.FreelistType, o.NoFreelistSync = lockWait, bbolt.FreelistMapType, true
	if err := verify(path); err != nil {
		return nil, err
	}
	db, err := bbolt.Open(path, 0o600, o)
	if errors.Is(err, bbolterrors.ErrTimeout) {
		return nil, fault.New(fault.Conflict, "state store %s is in use by another sampand (give this one its own %s)", path, flag)
	}
	if err != nil {
		return nil, fmt.Errorf("open state store %s: %w", path, err)
	}
	s := &Store{db: db}
	if err := s.Update(migrate); err != nil {
		return nil, errors.Join(fmt.Errorf("state store %s: %w", path, err), db.Close())
	}
	return s, nil
}

// bootFile names this run of the machine.
const bootFile = "/proc/sys/kernel/random/boot_id"

// OpenVolatile opens or makes a store for what ends with this run of the
// machine, such as the record of a container that is removed at its end. It
// survives kill -9 of the daemon, and a change costs no wait for a disk. Its
// file is path with the name of this run added; those of earlier runs, which a
// power cut may have damaged, are removed unread.
func OpenVolatile(path string) (*Store, error) {
	boot, err := os.ReadFile(bootFile)
	if err != nil {
		return nil, fmt.Errorf("volatile state store %s: %w", path, err)
	}
	file := path + "." + strings.TrimSpace(string(boot))
	earlier, err := filepath.Glob(path + ".*")
	if err != nil {
		return nil, fmt.Errorf("volatile state store %s: %w", path, err)
	}
	for _, old := range earlier {
		if old == file {
			continue
		}
		if err := os.Remove(old); err != nil {
			return nil, fmt.Errorf("volatile state store of an earlier run of the machine: %w", err)
		}
	}
	return open(file, &bbolt.Options{NoSync: true, NoGrowSync: true}, "--exec-root")
}

// Close ends the store; open transactions finish first.
func (s *Store) Close() error {
	s.committing.Wait()
	return s.db.Close()
}

// Update runs f in a read-write transaction and commits durably if f returns
// nil. Only one Update runs at a time; f must not wait for anything slow.
func (s *Store) Update(f func(*Tx) error) error {
	return s.db.Update(func(tx *bbolt.Tx) error { return f(&Tx{tx}) })
}

// View runs f in a read-only transaction.
func (s *Store) View(f func(*Tx) error) error {
	return s.db.View(func(tx *bbolt.Tx) error { return f(&Tx{tx}) })
}

// Put stores v as JSON.
func (t *Tx) Put(bucket, key string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s/%s: %w", bucket, key, err)
	}
	return t.PutRaw(bucket, key, raw)
}

// PutRaw stores raw, which must be JSON.
func (t *Tx) PutRaw(bucket, key string, raw []byte) error {
	b, err := t.tx.CreateBucketIfNotExists([]byte(bucket))
	if err != nil {
		return fmt.Errorf("store %s/%s: %w", bucket, key, err)
	}
	if err := b.Put([]byte(key), raw); err != nil {
		return fmt.Errorf("store %s/%s: %w", bucket, key, err)
	}
	return nil
}

// Get decodes the value into v and tells whether there was one.
func (t *Tx) Get(bucket, key string, v any) (bool, error) {
	raw := t.raw(bucket, key)
	if raw == nil {
		return false, nil
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return false, fmt.Errorf("decode %s/%s: %w", bucket, key, err)
	}
	return true, nil
}

// Has tells whether the key exists.
func (t *Tx) Has(bucket, key string) bool { return t.raw(bucket, key) != nil }

// Delete removes the key; a missing one is no error.
func (t *Tx) Delete(bucket, key string) error {
	b := t.tx.Bucket([]byte(bucket))
	if b == nil {
		return nil
	}
	if err := b.Delete([]byte(key)); err != nil {
		return fmt.Errorf("delete %s/%s: %w", bucket, key, err)
	}
	return nil
}

// Each calls f for every key of the bucket in byte order. raw is valid only
// during the call, and f must not change the bucket.
func (t *Tx) Each(bucket string, f func(key string, raw []byte) error) error {
	b := t.tx.Bucket([]byte(bucket))
	if b == nil {
		return nil
	}
	return b.ForEach(func(k, v []byte) error { return f(string(k), v) })
}

func (t *Tx) raw(bucket, key string) []byte {
	b := t.tx.Bucket([]byte(bucket))
	if b == nil {
		return nil
	}
	return b.Get([]byte(key))
}

// migrate brings the file to Schema, one step at a time, inside one transaction.
func migrate(tx *Tx) error {
	var have int
	found, err := tx.Get(metaBucket, schemaKey, &have)
	if err != nil {
		return err
	}
	if !found {
		return tx.Put(metaBucket, schemaKey, Schema)
	}
	if have > Schema {
		return fault.New(fault.Unavailable, "written by a newer sampand (schema %d, this one reads up to %d); start the newer version, or use another --data-root", have, Schema)
	}
	return nil
}
