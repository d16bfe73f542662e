package index

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sampan-containers/sampan/container/record"
	"github.com/sampan-containers/sampan/state"
)

const (
	departedBucket = "departed"
	// maxDepartedKept bounds how many are remembered.
	maxDepartedKept = 256
	// departedPrefix is the least that names one that is gone.
	departedPrefix = 12
)

// departed remembers how the last containers ended that were removed at their
// end: a client that waits for one may have lost its daemon meanwhile.
type departed struct {
	mu    sync.Mutex
	exits []departure // oldest first
}

type departure struct {
	ID   string
	Code int
	At   time.Time
}

// load reads what an earlier daemon remembered.
func (d *departed) load(tx *state.Tx) error {
	err := tx.Each(departedBucket, func(_ string, raw []byte) error {
		var one departure
		if json.Unmarshal(raw, &one) == nil {
			d.exits = append(d.exits, one)
		}
		return nil
	})
	slices.SortFunc(d.exits, func(a, b departure) int { return cmp.Compare(a.At.UnixNano(), b.At.UnixNano()) })
	return err
}

// put remembers a container in the transaction that removes it; it may be called
// again for the same one.
func (d *departed) put(tx *state.Tx, r *record.Record) error {
	one := departure{r.ID, r.State.ExitCode, time.Now().UTC()}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !slices.ContainsFunc(d.exits, func(o departure) bool { return o.ID == one.ID }) {
		d.exits = append(d.exits, one)
	}
	for len(d.exits) > maxDepartedKept {
		if err := tx.Delete(departedBucket, d.exits[0].ID); err != nil {
			return err
		}
		d.exits = d.exits[1:]
	}
	return tx.Put(departedBucket, one.ID, one)
}

// find tells how a container ended, by its id or a long beginning of it.
func (d *departed) find(ref string) (code int, ok bool) {
	if len(ref) < departedPrefix {
		return 0, false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := len(d.exits) - 1; i >= 0; i-- {
		if strings.HasPrefix(d.exits[i].ID, ref) {
			return d.exits[i].Code, true
		}
	}
	return 0, false
}
