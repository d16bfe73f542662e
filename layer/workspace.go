package layer

import (
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/sampan-containers/sampan/layer/inflate"
)

// workspace is the memory of one extraction, 2 MB. An image of many small layers
// would otherwise spend a third of its time on getting that for each of them.
type workspace struct {
	blocks  [blocks]block
	gzip    *inflate.Reader
	copy    [copyBuffer]byte
	encoder *zstd.Encoder // of the recipe
}

// workspaces keeps those of extractions that have ended for the next ones, as
// long as any runs: an idle daemon holds none.
type workspaces struct {
	mu    sync.Mutex
	inUse int
	free  []*workspace
}

func (p *workspaces) get() *workspace {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.inUse++
	if n := len(p.free); n > 0 {
		w := p.free[n-1]
		p.free = p.free[:n-1]
		return w
	}
	return &workspace{gzip: inflate.NewReader(nil)}
}

// put gives a workspace back; nil says that somebody may still use its memory.
func (p *workspaces) put(w *workspace) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w != nil {
		w.gzip.Reset(nil)
		p.free = append(p.free, w)
	}
	if p.inUse--; p.inUse == 0 {
		p.free = nil
	}
}
