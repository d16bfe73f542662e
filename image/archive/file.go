package archive

import (
	"bytes"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"

	"github.com/moby/moby/api/types/jsonstream"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-containers/sampan/content"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/image"
	"github.com/sampan-containers/sampan/kernel/failpoint"
	"github.com/sampan-containers/sampan/layer"
)

const tarBlock = 512

// file is a file of the archive after it has passed: a document in a file, or
// what became of a layer.
type file struct {
	size int64
	path string // of a document

	digest digest.Digest // of the bytes in the archive, if they were hashed
	info   *layer.Info   // of a layer that is there
	staged *layer.Staged // of one that is not there yet
	blob   *content.Writer
	stored bool   // the compressed form is in the store
	form   string // media type of the compressed form, as its first bytes tell
	err    error  // why it is no layer; told if one is expected
}

func (f *file) close() {
	if f == nil {
		return
	}
	if f.path != "" {
		os.Remove(f.path)
	}
	if f.staged != nil {
		f.staged.Discard()
	}
	if f.blob != nil {
		f.blob.Abandon()
	}
}

// keep takes one file of the archive. Layers are told from documents by their
// first bytes: no document looks like a tar or a compressed file.
func (l *loader) keep(n int, name string, size int64, r io.Reader) (*file, error) {
	head := make([]byte, min(tarBlock, size))
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	whole := io.MultiReader(bytes.NewReader(head), r)
	packed := layer.Compressed(head)
	if !packed && !isTar(head) {
		path, err := l.spool(n, whole)
		return &file{size: size, path: path}, err
	}
	p := &passing{r: whole, report: l.reporter(name, size)}
	f := &file{size: size, form: mediaType(head)}
	claim := claimed(name)
	if packed && f.form == "" {
		claim = "" // in a compression that no registry takes: the blob is of no use
	}
	err := l.pass(f, p, claim, packed)
	p.close()
	if err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

// pass unpacks a layer while it passes. What is wrong with it is kept for whoever
// asks for the layer; an error returned ends the load.
func (l *loader) pass(f *file, p *passing, claim digest.Digest, packed bool) error {
	if known := l.known(claim, packed); known != nil {
		p.sum = digest.SHA256.Hash()
		if err := discard(p); err != nil {
			return err
		}
		if f.digest = p.digest(); f.digest == claim {
			f.info, f.stored = known, packed
			return nil
		}
		f.err = wrongDigest(claim, f.digest)
		return nil
	}
	switch {
	case packed && claim != "":
		if err := l.tee(f, p, claim); err != nil {
			return err
		}
	case packed:
		p.sum = digest.SHA256.Hash()
	}
	failpoint.Hit("image.load.unpack")
	staged, err := l.images.Layers().Stage(l.ctx, p, "")
	if err == nil {
		f.staged, f.info = staged, staged.Info
		// What follows the end of the compressed data belongs to the blob.
		err = discard(p)
	}
	switch {
	case p.failed() != nil:
		return p.failed()
	case err != nil && fault.Of(err) != fault.Invalid:
		return err
	case err != nil:
		f.err = err
		return nil
	case !packed:
		f.digest = f.info.DiffID
	case f.blob != nil:
		if err := f.blob.Finish(); err != nil {
			f.err = err
		}
		f.digest = claim
	case p.sum != nil:
		f.digest = p.digest()
		f.stored = f.digest == claim
	}
	return nil
}

// tee keeps a compressed layer as a blob, unless it is there.
func (l *loader) tee(f *file, p *passing, claim digest.Digest) error {
	blobs := l.images.Blobs()
	if !blobs.Hold(claim) {
		w, err := blobs.Begin(l.ctx, claim, f.size)
		if err != nil {
			return err
		}
		if !blobs.Has(claim) {
			f.blob, p.copy = w, w
			return w.Reset()
		}
		if err := w.Abandon(); err != nil {
			return err
		}
		blobs.Hold(claim)
	}
	l.heldBlobs = append(l.heldBlobs, claim)
	p.sum = digest.SHA256.Hash()
	return nil
}

// known returns the layer of a blob that has been unpacked before, and holds it.
func (l *loader) known(claim digest.Digest, packed bool) *layer.Info {
	if claim == "" {
		return nil
	}
	diffID := claim
	if packed {
		var ok bool
		if diffID, ok = l.images.DiffIDOf(claim); !ok || !l.images.Blobs().Hold(claim) {
			return nil
		}
		l.heldBlobs = append(l.heldBlobs, claim)
	}
	if !l.images.Layers().Hold(diffID) {
		return nil
	}
	l.heldLayers = append(l.heldLayers, diffID)
	info, err := l.images.Layers().Stat(diffID)
	if err != nil {
		return nil
	}
	return info
}

// mediaType is that of a compressed layer which registries take, or empty.
func mediaType(head []byte) string {
	switch {
	case bytes.HasPrefix(head, []byte("\x1f\x8b")):
		return ocispec.MediaTypeImageLayerGzip
	case bytes.HasPrefix(head, []byte("\x28\xb5\x2f\xfd")):
		return ocispec.MediaTypeImageLayerZstd
	}
	return ""
}

// claimed is the digest that a name of an OCI layout claims, or empty.
func claimed(name string) digest.Digest {
	hex, ok := strings.CutPrefix(name, blobDir)
	if !ok {
		return ""
	}
	if d := digest.NewDigestFromEncoded(digest.SHA256, hex); d.Validate() == nil {
		return d
	}
	return ""
}

// isTar tells whether head is how a tar begins: an entry whose checksum is right,
// or the end of an empty one.
func isTar(head []byte) bool {
	if len(head) < tarBlock {
		return false
	}
	const at, size = 148, 8
	sum, zeros := 0, true
	for i, b := range head {
		zeros = zeros && b == 0
		if i >= at && i < at+size {
			b = ' '
		}
		sum += int(b)
	}
	text := strings.Trim(string(head[at:at+size]), " \x00")
	want, err := strconv.ParseInt(text, 8, 32)
	return zeros || err == nil && int(want) == sum
}

// passing is a file of the archive on its way. The reader of the archive must not
// be read by anybody else after the loader has gone on to the next file, so close
// waits for a read that is under way and ends all later ones.
type passing struct {
	mu     sync.Mutex
	r      io.Reader
	sum    hash.Hash
	copy   io.Writer
	report func(int64)
	n      int64
	done   bool
	err    error // of the archive or of copy
}

var errPassed = errors.New("the file has passed")

func (p *passing) Read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done {
		return 0, errPassed
	}
	n, err := p.r.Read(b)
	if p.sum != nil {
		p.sum.Write(b[:n])
	}
	if p.copy != nil && n > 0 {
		if _, werr := p.copy.Write(b[:n]); werr != nil {
			n, err = 0, werr
		}
	}
	if p.n += int64(n); p.report != nil {
		p.report(p.n)
	}
	if err != nil && err != io.EOF {
		p.err = err
	}
	return n, err
}

func (p *passing) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done = true
}

func (p *passing) failed() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

func (p *passing) digest() digest.Digest {
	return digest.NewDigestFromEncoded(digest.SHA256, hex.EncodeToString(p.sum.Sum(nil)))
}

// reporter returns what writes a layer's progress, or nil.
func (l *loader) reporter(name string, size int64) func(int64) {
	if l.o.Quiet {
		return nil
	}
	id := strings.TrimPrefix(name, blobDir)
	if i := strings.IndexByte(id, '/'); i >= 0 {
		id = id[:i]
	}
	const digits, step = 12, 4 << 20
	id = strings.TrimSuffix(id, path.Ext(id))
	id = id[:min(len(id), digits)]
	var said int64
	return func(n int64) {
		if n < size && n-said < step || n == said {
			return
		}
		said = n
		// A client that is gone is found out by the load itself.
		_ = image.WriteMessage(l.progress, jsonstream.Message{ID: id, Status: "Loading layer", Progress: &jsonstream.Progress{Current: n, Total: size}})
	}
}

// layers makes the layers of an image visible and returns them with their blobs.
func (l *loader) layers(names []string, diffIDs []digest.Digest) ([]image.ArrivedLayer, error) {
	var out []image.ArrivedLayer
	var staged []*layer.Staged
	var writers []*content.Writer
	// What could not be published is discarded here; what was, is held.
	defer func() {
		for _, st := range staged {
			st.Discard()
		}
		for _, w := range writers {
			w.Abandon()
		}
	}()
	for i, name := range names {
		if err := diffIDs[i].Validate(); err != nil {
			return nil, fault.New(fault.Invalid, "invalid archive: %q is no diffID: %w", diffIDs[i].String(), err)
		}
		f, err := l.find(name)
		if err == nil && f.path != "" {
			err = l.late(f)
		}
		if err == nil {
			err = f.err
		}
		if err != nil {
			return nil, err
		}
		if f.info.DiffID != diffIDs[i] {
			return nil, fault.New(fault.Invalid, "layer does not have the diffID its image names: expected %s, got %s", diffIDs[i], f.info.DiffID)
		}
		if f.staged != nil {
			staged = append(staged, f.staged)
			f.staged = nil
			if f.blob != nil {
				writers = append(writers, f.blob)
				f.blob, f.stored = nil, true
			}
		}
		arrived := image.ArrivedLayer{Info: f.info}
		if f.stored {
			arrived.Blob = ocispec.Descriptor{MediaType: f.form, Digest: f.digest, Size: f.size}
		}
		out = append(out, arrived)
	}
	if err := l.images.Blobs().Publish(writers...); err != nil {
		return nil, err
	}
	for _, w := range writers {
		l.heldBlobs = append(l.heldBlobs, w.Digest())
	}
	if err := l.images.Layers().Publish(staged...); err != nil {
		return nil, err
	}
	for _, st := range staged {
		l.heldLayers = append(l.heldLayers, st.Info.DiffID)
	}
	return out, nil
}

// late unpacks a layer that did not look like one.
func (l *loader) late(f *file) error {
	r, err := os.Open(f.path)
	if err != nil {
		return err
	}
	defer r.Close()
	staged, err := l.images.Layers().Stage(l.ctx, r, "")
	if err != nil {
		return err
	}
	os.Remove(f.path)
	f.path, f.staged, f.info, f.digest = "", staged, staged.Info, staged.Info.DiffID
	return nil
}
