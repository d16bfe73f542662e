package image

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/distribution/reference"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/state"
)

// MaxDocument bounds a config, manifest or index, hostile or not. Real ones take
// 1-20 KiB.
const MaxDocument = 4 << 20

const (
	imageBucket = "images"      // image ID → record
	nameBucket  = "image-names" // full reference, name:tag or name@digest → image ID

	maxConfig = MaxDocument
	// cachedConfigs and cachedConfig bound the parsed configs kept in memory.
	cachedConfigs = 64
	cachedConfig  = 64 << 10
)

// record is what the state store knows of an image beside its config.
type record struct {
	Layers  []digest.Digest `json:"layers"` // diffIDs, bottom first
	Size    int64           `json:"size"`
	Created time.Time       `json:"created,omitzero"`
	Parent  digest.Digest   `json:"parent,omitempty"`
	Tagged  time.Time       `json:"tagged,omitzero"`
	// Manifests are the blobs that describe the image where it came from.
	Manifests []digest.Digest `json:"manifests,omitempty"`
	// Source is the digest of the binary that a built-in image was made from.
	Source digest.Digest `json:"source,omitempty"`
	// Orphan marks an image that was deleted by force while stopped containers
	// still stand on its layers. It has no name and is in no list; it goes with
	// the last of those containers.
	Orphan bool `json:"orphan,omitempty"`
}

func getRecord(tx *state.Tx, id digest.Digest) (*record, error) {
	r := new(record)
	found, err := tx.Get(imageBucket, id.String(), r)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, notFound(id.String())
	}
	return r, nil
}

// putRecord records an image, or what is new of one that is there, and names it.
func putRecord(tx *state.Tx, id digest.Digest, rec record, names []reference.Named) error {
	fresh := false // a name that it has already, as after a load of what is there, changes nothing
	for _, name := range names {
		var had digest.Digest
		if _, err := tx.Get(nameBucket, name.String(), &had); err != nil {
			return err
		}
		fresh = fresh || had != id
	}
	if fresh {
		rec.Tagged = time.Now().UTC()
	}
	old, err := getRecord(tx, id)
	switch {
	case err == nil:
		// The same image again: what is known of it stays.
		if rec.Parent == "" {
			rec.Parent = old.Parent
		}
		if rec.Source == "" {
			rec.Source = old.Source
		}
		if !fresh {
			rec.Tagged = old.Tagged
		}
		for _, d := range old.Manifests {
			if !slices.Contains(rec.Manifests, d) {
				rec.Manifests = append(rec.Manifests, d)
			}
		}
	case fault.Of(err) != fault.NotFound:
		return err
	}
	if err := tx.Put(imageBucket, id.String(), rec); err != nil {
		return err
	}
	for _, name := range names {
		if err := tx.Put(nameBucket, name.String(), id); err != nil {
			return err
		}
	}
	return nil
}

func eachRecord(tx *state.Tx, f func(digest.Digest, *record) error) error {
	return tx.Each(imageBucket, func(key string, raw []byte) error {
		r := new(record)
		if err := json.Unmarshal(raw, r); err != nil {
			return fmt.Errorf("decode image %s: %w", key, err)
		}
		return f(digest.Digest(key), r)
	})
}

// namesOf returns an image's names in the store's order, which is sorted.
func namesOf(tx *state.Tx, id digest.Digest) ([]reference.Named, error) {
	want, err := json.Marshal(id)
	if err != nil {
		return nil, err
	}
	var names []reference.Named
	err = tx.Each(nameBucket, func(key string, raw []byte) error {
		if !bytes.Equal(raw, want) {
			return nil
		}
		ref, err := reference.ParseNamed(key)
		if err != nil {
			return fmt.Errorf("decode image name %q: %w", key, err)
		}
		names = append(names, ref)
		return nil
	})
	return names, err
}

// names splits references into Docker's two lists, in short form.
func split(refs []reference.Named) (tags, digests []string) {
	tags, digests = []string{}, []string{}
	for _, ref := range refs {
		if _, ok := ref.(reference.Canonical); ok {
			digests = append(digests, reference.FamiliarString(ref))
		} else {
			tags = append(tags, reference.FamiliarString(ref))
		}
	}
	return tags, digests
}

// assemble makes an Image of a record, inside a transaction for its names.
func (s *Service) assemble(tx *state.Tx, id digest.Digest, r *record) (*Image, error) {
	cfg, err := s.config(id)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", short(id), err)
	}
	refs, err := namesOf(tx, id)
	if err != nil {
		return nil, err
	}
	img := &Image{ID: id, Config: cfg, Size: r.Size, Created: r.Created, Parent: r.Parent, record: *r}
	img.RepoTags, img.RepoDigests = split(refs)
	return img, nil
}

type configCache struct {
	mu     sync.Mutex
	parsed map[digest.Digest]*dockerspec.DockerOCIImage
}

// config returns an image's parsed config. A damaged one is fault.Unavailable.
func (s *Service) config(id digest.Digest) (*dockerspec.DockerOCIImage, error) {
	s.configs.mu.Lock()
	defer s.configs.mu.Unlock()
	if cfg := s.configs.parsed[id]; cfg != nil {
		return cfg, nil
	}
	raw, err := s.blobs.Read(id, maxConfig)
	if err != nil {
		return nil, err
	}
	cfg := new(dockerspec.DockerOCIImage)
	if err := json.Unmarshal(raw, cfg); err != nil {
		return nil, fault.New(fault.Invalid, "the image's config is not valid: %w", err)
	}
	if len(raw) <= cachedConfig {
		if s.configs.parsed == nil || len(s.configs.parsed) >= cachedConfigs {
			s.configs.parsed = map[digest.Digest]*dockerspec.DockerOCIImage{}
		}
		s.configs.parsed[id] = cfg
	}
	return cfg, nil
}

func (c *configCache) drop(id digest.Digest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.parsed, id)
}

// used collects what records and leases need: layers, chains and blobs.
type used struct{ layers, chains, blobs map[digest.Digest]bool }

func (s *Service) inUse(tx *state.Tx) (*used, error) {
	u := &used{map[digest.Digest]bool{}, map[digest.Digest]bool{}, map[digest.Digest]bool{}}
	err := eachRecord(tx, func(id digest.Digest, r *record) error {
		u.blobs[id] = true
		for _, d := range r.Manifests {
			u.blobs[d] = true
		}
		for _, l := range r.Layers {
			u.layers[l] = true
		}
		if len(r.Layers) > 0 {
			u.chains[identity.ChainID(r.Layers)] = true
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = s.leases.Held(tx, time.Now(), func(d digest.Digest) { u.blobs[d] = true }, func(d digest.Digest) { u.layers[d] = true })
	if err != nil {
		return nil, err
	}
	return u, tx.Each(blobBucket, func(diffID string, raw []byte) error {
		if !u.layers[digest.Digest(diffID)] {
			return nil
		}
		var list []ocispec.Descriptor
		if err := json.Unmarshal(raw, &list); err != nil {
			return fmt.Errorf("decode the blobs of layer %s: %w", diffID, err)
		}
		for _, b := range list {
			u.blobs[b.Digest] = true
		}
		return nil
	})
}

// forgetBlobs drops what is recorded of the blobs of layers that nobody needs.
func (u *used) forgetBlobs(tx *state.Tx) error {
	for _, bucket := range []string{blobBucket, droppedBucket} {
		var gone []string
		err := tx.Each(bucket, func(diffID string, _ []byte) error {
			if !u.layers[digest.Digest(diffID)] {
				gone = append(gone, diffID)
			}
			return nil
		})
		for _, diffID := range gone {
			if err == nil {
				err = tx.Delete(bucket, diffID)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// sweep removes layers, chains and blobs that no record and no lease needs: what
// a crash between the data and the record left.
func (s *Service) sweep() error {
	var u *used
	err := s.store.Update(func(tx *state.Tx) (err error) {
		if err = s.leases.Expire(tx, time.Now()); err != nil {
			return err
		}
		if u, err = s.inUse(tx); err != nil {
			return err
		}
		return u.forgetBlobs(tx)
	})
	if err != nil {
		return err
	}
	if err := s.layers.Walk(unless(u.layers, s.layers.Remove)); err != nil {
		return err
	}
	if err := s.layers.Chains(unless(u.chains, s.layers.RemoveChain)); err != nil {
		return err
	}
	return s.blobs.Walk(unless(u.blobs, s.blobs.Delete))
}

func unless(keep map[digest.Digest]bool, remove func(digest.Digest) error) func(digest.Digest) error {
	return func(d digest.Digest) error {
		if keep[d] {
			return nil
		}
		return remove(d)
	}
}
