package state

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
)

// bbolt trusts its file: a page that is not what it should be ends the process with a
// panic in a goroutine of its own, or with SIGBUS where a file was cut short. So the
// whole tree is walked with bounded reads before bbolt sees it. State is small: some
// hundred KiB, read in less than a millisecond.
//
// The layout (bbolt 1.x, version 2 of the format): pages of pageSize bytes, the
// first two of which hold a meta each, the newer one of the valid counts; a page
// has a header, then elements that point to keys and values behind them. A value of
// a bucket is the number of its root page, or 0 and the page itself.
const (
	boltMagic    = 0xED0CDAED
	boltVersion  = 2
	noFreelist   = 1<<64 - 1
	headerSize   = 16
	elementSize  = 16
	bucketHeader = 16
	metaSize     = 64
	metaSummed   = 56 // what the checksum covers

	branchPage, leafPage, freelistPage = 0x01, 0x02, 0x10
	bucketFlag                         = 0x01

	minPageSize, maxPageSize = 1 << 10, 64 << 10
	// maxDepth and maxRun bound what a damaged page can ask for: a tree of 16 levels
	// holds more than any disk, and a value is at most some MiB.
	maxDepth = 16
	maxRun   = 256 << 20
)

// damage is what is wrong with a file.
type damage struct{ text string }

func (d damage) Error() string { return d.text }

func damagedf(format string, args ...any) error { return damage{fmt.Sprintf(format, args...)} }

// verify reads the whole file at path, unless it is missing, empty or in use by
// another process, and returns fault.Unavailable with what to do if it is damaged.
func verify(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open state store: %w", err)
	}
	defer f.Close()
	// Who has it open is writing to it. bbolt's own lock answers that.
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); err != nil {
		return nil
	}
	st, err := f.Stat()
	if err != nil {
		return fmt.Errorf("examine state store %s: %w", path, err)
	}
	if st.Size() == 0 {
		return nil
	}
	t := &tree{f: f, size: st.Size(), seen: map[uint64]bool{}}
	err = t.walk()
	var bad damage
	if errors.As(err, &bad) {
		return fault.New(fault.Unavailable, "%s is damaged: %w", path, bad)
	}
	if err != nil {
		return fmt.Errorf("read state store %s: %w", path, err)
	}
	return nil
}

// tree is a file being verified.
type tree struct {
	f        *os.File
	size     int64
	pageSize int64
	pages    uint64 // numbers from this on are not in use
	seen     map[uint64]bool
}

// meta is what a meta page says.
type meta struct{ pageSize, root, freelist, pages, txid uint64 }

func (t *tree) walk() error {
	m, err := t.newest()
	if err != nil {
		return err
	}
	t.pageSize, t.pages = int64(m.pageSize), m.pages
	if m.freelist != noFreelist {
		p, err := t.page(m.freelist)
		if err != nil {
			return err
		}
		if p.flags != freelistPage {
			return damagedf("page %d is not the list of free pages", m.freelist)
		}
		if n := int(p.count); n != 0xFFFF && headerSize+8*n > len(p.raw) || n == 0xFFFF && (len(p.raw) < headerSize+8 || binary.LittleEndian.Uint64(p.raw[headerSize:]) > uint64(len(p.raw)-headerSize-8)/8) {
			return damagedf("the list of free pages is longer than its page %d", m.freelist)
		}
	}
	return t.bucket(m.root, "")
}

// newest finds the meta that counts. Of two, a commit that was cut off may have
// damaged one.
func (t *tree) newest() (*meta, error) {
	var best *meta
	take := func(offset int64, pageSize uint64) {
		if m := t.meta(offset); m != nil && (pageSize == 0 || m.pageSize == pageSize) && (best == nil || m.txid > best.txid) {
			best = m
		}
	}
	take(0, 0)
	if best != nil {
		take(int64(best.pageSize), best.pageSize)
	} else {
		for size := uint64(minPageSize); size <= maxPageSize; size <<= 1 {
			take(int64(size), size)
		}
	}
	if best == nil {
		return nil, damagedf("it does not begin as a state store does")
	}
	if t.size < 2*int64(best.pageSize) {
		return nil, damagedf("it is cut off after %d bytes", t.size)
	}
	return best, nil
}

func (t *tree) meta(offset int64) *meta {
	raw := make([]byte, headerSize+metaSize)
	if _, err := t.f.ReadAt(raw, offset); err != nil {
		return nil
	}
	raw = raw[headerSize:]
	sum := fnv.New64a()
	_, _ = sum.Write(raw[:metaSummed])
	order := binary.LittleEndian
	m := &meta{uint64(order.Uint32(raw[8:])), order.Uint64(raw[16:]), order.Uint64(raw[32:]), order.Uint64(raw[40:]), order.Uint64(raw[48:])}
	if order.Uint32(raw) != boltMagic || order.Uint32(raw[4:]) != boltVersion || order.Uint64(raw[metaSummed:]) != sum.Sum64() ||
		m.pageSize < minPageSize || m.pageSize > maxPageSize || m.pageSize&(m.pageSize-1) != 0 {
		return nil
	}
	return m
}

// page is one page with those that it overflows to.
type page struct {
	id           uint64
	flags, count uint16
	raw          []byte
}

// page reads a page that nothing else refers to.
func (t *tree) page(id uint64) (*page, error) {
	if id < 2 || id >= t.pages {
		return nil, damagedf("a reference leads to page %d, and there are %d", id, t.pages)
	}
	head := make([]byte, headerSize)
	at := int64(id) * t.pageSize
	if at+t.pageSize > t.size {
		return nil, damagedf("it is cut off: page %d lies behind its end at %d bytes", id, t.size)
	}
	if _, err := t.f.ReadAt(head, at); err != nil {
		return nil, err
	}
	p := &page{id: id, flags: binary.LittleEndian.Uint16(head[8:]), count: binary.LittleEndian.Uint16(head[10:])}
	over := uint64(binary.LittleEndian.Uint32(head[12:]))
	length := (int64(over) + 1) * t.pageSize
	if got := binary.LittleEndian.Uint64(head); got != id {
		return nil, damagedf("page %d says that it is page %d", id, got)
	}
	if id+over >= t.pages || length > maxRun || at+length > t.size {
		return nil, damagedf("page %d is longer than the file", id)
	}
	for n := id; n <= id+over; n++ {
		if t.seen[n] {
			return nil, damagedf("page %d is used twice", n)
		}
		t.seen[n] = true
	}
	p.raw = make([]byte, length)
	_, err := t.f.ReadAt(p.raw, at)
	return p, err
}

// bucket verifies a bucket with pages of its own. name is for messages.
func (t *tree) bucket(root uint64, name string) error {
	w := &walk{t: t, name: name}
	return w.page(root, 0, nil)
}

// walk goes through the keys of one bucket in their order.
type walk struct {
	t    *tree
	name string
	last []byte // the key before
	any  bool
}

func (w *walk) page(id uint64, depth int, least []byte) error {
	if depth > maxDepth {
		return damagedf("its tree is deeper than %d levels", maxDepth)
	}
	p, err := w.t.page(id)
	if err != nil {
		return err
	}
	if p.flags == leafPage {
		return w.leaf(p, least)
	}
	if p.flags != branchPage || p.count == 0 {
		return damagedf("page %d is of no known kind", id)
	}
	for i := range int(p.count) {
		e, err := p.element(i)
		if err != nil {
			return err
		}
		key, err := p.slice(i, binary.LittleEndian.Uint32(e), binary.LittleEndian.Uint32(e[4:]))
		if err != nil {
			return err
		}
		if w.any && bytes.Compare(key, w.last) <= 0 {
			return damagedf("the keys on page %d are not in order", id)
		}
		if err := w.page(binary.LittleEndian.Uint64(e[8:]), depth+1, key); err != nil {
			return err
		}
	}
	return nil
}

// element returns the raw element i of a page.
func (p *page) element(i int) ([]byte, error) {
	at := headerSize + i*elementSize
	if at+elementSize > len(p.raw) {
		return nil, damagedf("page %d has more entries than fit in it", p.id)
	}
	return p.raw[at : at+elementSize], nil
}

// slice returns bytes that element i points to.
func (p *page) slice(i int, pos, n uint32) ([]byte, error) {
	from := int64(headerSize+i*elementSize) + int64(pos)
	if from+int64(n) > int64(len(p.raw)) {
		return nil, damagedf("an entry of page %d lies outside of it", p.id)
	}
	return p.raw[from : from+int64(n)], nil
}

// leaf verifies the entries of a leaf, whose keys are not below least.
func (w *walk) leaf(p *page, least []byte) error {
	for i := range int(p.count) {
		e, err := p.element(i)
		if err != nil {
			return err
		}
		order := binary.LittleEndian
		flags, pos, keySize, valueSize := order.Uint32(e), order.Uint32(e[4:]), order.Uint32(e[8:]), order.Uint32(e[12:])
		key, err := p.slice(i, pos, keySize)
		if err != nil {
			return err
		}
		both, err := p.slice(i, pos, keySize+valueSize)
		if err != nil || uint64(keySize)+uint64(valueSize) > maxRun {
			return damagedf("an entry of page %d lies outside of it", p.id)
		}
		if w.any && bytes.Compare(key, w.last) <= 0 || bytes.Compare(key, least) < 0 {
			return damagedf("the keys on page %d are not in order", p.id)
		}
		w.last, w.any = key, true
		if err := w.value(key, both[keySize:], flags); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) value(key, value []byte, flags uint32) error {
	if flags&bucketFlag == 0 {
		if w.name == "" || !json.Valid(value) {
			return damagedf("its entry %q is not valid", w.name+"/"+printable(key))
		}
		return nil
	}
	if len(value) < bucketHeader || w.name != "" { // this package makes no buckets within buckets
		return damagedf("its bucket %q is not valid", w.name+"/"+printable(key))
	}
	if root := binary.LittleEndian.Uint64(value); root != 0 {
		return w.t.bucket(root, printable(key))
	}
	inline := value[bucketHeader:]
	if len(inline) < headerSize {
		return damagedf("its bucket %q is not valid", printable(key))
	}
	p := &page{flags: binary.LittleEndian.Uint16(inline[8:]), count: binary.LittleEndian.Uint16(inline[10:]), raw: inline}
	if p.flags != leafPage {
		return damagedf("its bucket %q is not valid", printable(key))
	}
	return (&walk{t: w.t, name: printable(key)}).leaf(p, nil)
}

// printable keeps a damaged key short.
func printable(key []byte) string {
	const most = 80
	return string(key[:min(len(key), most)])
}
