package event

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/moby/moby/api/types/events"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/kernel/durable"
)

// A journal keeps the last events in two halves of fixed size: one is filled, and
// when it is full the older one is emptied and filled next. Where it is a file it
// is mapped, so that an event costs a copy in memory and no system call, and what
// was published is there for the next daemon however this one ends. The file lies
// on the tmpfs of the exec root: it cannot fail, and no disk waits for it.
//
// A half is a header and entries. The header is the number of the half (the higher
// is the newer one) and the bytes in use; an entry is its length and an event in
// JSON. The count of bytes is written last: an end in the middle loses one event.
type journal struct {
	mem    []byte
	half   int // the one that is being filled
	mapped bool
}

const (
	halfSize     = 1 << 20
	halfHeader   = 16
	entryHeader  = 4
	journalMode  = 0o600
	journalMagic = 0x53616d70616e3031 // in front of each half's number, "Sampan01"
	magicSize    = 8
)

func newJournal() *journal {
	j := &journal{mem: make([]byte, 2*halfSize)}
	j.reset(0, 1)
	return j
}

// openJournal maps the file, or makes it. What is no journal is overwritten.
func openJournal(path string) (*journal, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC|unix.O_NOFOLLOW, journalMode)
	if err != nil {
		return nil, fmt.Errorf("open the journal of events %s: %w", path, err)
	}
	defer unix.Close(fd)
	// All of it at once: a page that cannot be had later would end the daemon.
	err = unix.Fallocate(fd, 0, 0, 2*halfSize)
	if errors.Is(err, unix.EOPNOTSUPP) {
		err = unix.Ftruncate(fd, 2*halfSize)
	}
	if err != nil {
		return nil, fmt.Errorf("make the journal of events %s: %w", path, err)
	}
	mem, err := unix.Mmap(fd, 0, 2*halfSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map the journal of events %s: %w", path, err)
	}
	j := &journal{mem: mem, mapped: true}
	first, firstOK := j.number(0)
	second, secondOK := j.number(1)
	switch {
	case !firstOK && !secondOK:
		j.reset(0, 1)
	case secondOK && (!firstOK || second > first):
		j.half = 1
	}
	return j, nil
}

// close lets go of the mapping; the journal goes on in memory, empty, since
// somebody may still publish.
func (j *journal) close() {
	if j.mapped {
		unix.Munmap(j.mem)
		*j = *newJournal()
	}
}

func (j *journal) part(half int) []byte { return j.mem[half*halfSize : (half+1)*halfSize] }

// number is the number of a half that holds something.
func (j *journal) number(half int) (n uint64, ok bool) {
	b := j.part(half)
	n = binary.LittleEndian.Uint64(b) ^ journalMagic
	return n, n > 0 && n < 1<<48
}

func (j *journal) used(half int) int {
	n := binary.LittleEndian.Uint64(j.part(half)[magicSize:])
	if n > halfSize-halfHeader {
		return 0
	}
	return int(n)
}

func (j *journal) setUsed(half, n int) {
	binary.LittleEndian.PutUint64(j.part(half)[magicSize:], uint64(n))
}

func (j *journal) reset(half int, number uint64) {
	j.setUsed(half, 0)
	binary.LittleEndian.PutUint64(j.part(half), number^journalMagic)
	j.half = half
}

// add appends one event. One that does not fit into a half is left out.
func (j *journal) add(raw []byte) {
	size := entryHeader + len(raw)
	if size > halfSize-halfHeader {
		return
	}
	at := j.used(j.half)
	if at+size > halfSize-halfHeader {
		n, _ := j.number(j.half)
		j.reset(1-j.half, n+1)
		at = 0
	}
	b := j.part(j.half)[halfHeader+at:]
	binary.LittleEndian.PutUint32(b, uint32(len(raw)))
	copy(b[entryHeader:], raw)
	j.setUsed(j.half, at+size)
}

// copyAll is everything that is kept, the oldest first.
func (j *journal) copyAll() []byte {
	var all []byte
	for _, half := range []int{1 - j.half, j.half} {
		if _, ok := j.number(half); ok {
			all = append(all, j.part(half)[halfHeader:halfHeader+j.used(half)]...)
		}
	}
	return all
}

// each decodes what copyAll returned; f returns false to end. Damage ends it too.
func each(raw []byte, f func(events.Message) bool) {
	for len(raw) >= entryHeader {
		n := int(binary.LittleEndian.Uint32(raw))
		raw = raw[entryHeader:]
		if n > len(raw) {
			return
		}
		var m events.Message
		if json.Unmarshal(raw[:n], &m) != nil || !f(m) {
			return
		}
		raw = raw[n:]
	}
}

// Keep makes the bus remember its events in a file of the exec root, with what an
// earlier daemon left there, and gives them back to it at Close. saved, on a disk,
// holds them over a reboot: it is written at Close.
func (b *Bus) Keep(path, saved string) error {
	j, err := openJournal(path)
	if err != nil {
		return err
	}
	if len(j.copyAll()) == 0 {
		restore(j, saved)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.journal, b.saved = j, saved
	each(j.copyAll(), func(m events.Message) bool { b.last = max(b.last, m.TimeNano); return true })
	return nil
}

// restore takes over the events from before a reboot; without them it goes on.
func restore(j *journal, saved string) {
	raw, err := os.ReadFile(saved)
	if err != nil || len(raw) > 2*halfSize {
		return
	}
	for len(raw) >= entryHeader {
		n := int(binary.LittleEndian.Uint32(raw))
		if n > len(raw)-entryHeader {
			return
		}
		j.add(raw[entryHeader : entryHeader+n])
		raw = raw[entryHeader+n:]
	}
}

// Close saves the events for the time after a reboot. Events that are published
// later are not kept.
func (b *Bus) Close() error {
	b.mu.Lock()
	raw, saved := b.journal.copyAll(), b.saved
	b.journal.close()
	b.saved = ""
	b.mu.Unlock()
	if saved == "" {
		return nil
	}
	if err := replace(saved, raw); err != nil {
		return fmt.Errorf("save the journal of events: %w", err)
	}
	return nil
}

// replace writes a file as a whole or not at all.
func replace(path string, raw []byte) (err error) {
	tmp, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, journalMode)
	if err != nil {
		return err
	}
	_, err = tmp.Write(raw)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(path))
}
