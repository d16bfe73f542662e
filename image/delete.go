package image

import (
	"context"
	"time"

	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/image"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/failpoint"
	"github.com/sampan-containers/sampan/state"
)

// deletion is one Delete: what it has done inside its transaction, and what
// follows once that has committed.
type deletion struct {
	s        *Service
	tx       *state.Tx
	force    bool
	prune    bool
	response []image.DeleteResponse
	events   []func()
	gone     []*record
	blobs    []digest.Digest
}

// Delete removes a name, or the image when it was its last one, with Docker's
// rules: force unties an image from several names and stopped containers, never
// from running ones or child images. prune also removes parents that nobody
// names or uses. Either everything it answers has happened, or nothing.
func (s *Service) Delete(ctx context.Context, ref string, force, prune bool) ([]image.DeleteResponse, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d := &deletion{s: s, force: force, prune: prune}
	err := s.store.Update(func(tx *state.Tx) error {
		d.tx = tx
		return d.run(ref)
	})
	if err != nil {
		return nil, err
	}
	failpoint.Hit("image.delete.recorded")
	for _, publish := range d.events {
		publish()
	}
	if err := d.reclaim(); err != nil {
		return nil, err
	}
	if s.LayersGone != nil && len(d.gone) > 0 {
		s.LayersGone()
	}
	// Also those that an earlier run of the daemon left.
	left, err := s.settle()
	if left > 0 && !s.waiting {
		s.waiting = true
		go s.awaitRelease()
	}
	return d.response, err
}

func (d *deletion) run(ref string) error {
	id, r, err := find(d.tx, ref)
	if err != nil {
		return err
	}
	refs, err := namesOf(d.tx, id)
	if err != nil {
		return err
	}
	if isIDPrefix(id, ref) {
		return d.byID(id, r, refs)
	}
	return d.byName(ref, id, r, refs)
}

// byID removes all names, if they are of one repository, and then the image.
func (d *deletion) byID(id digest.Digest, r *record, refs []reference.Named) error {
	if singleReference(refs) {
		conflict, err := d.conflict(id, conflicts{stopped: !d.force})
		if err != nil {
			return err
		}
		if conflict != nil {
			return conflict
		}
		for _, ref := range refs {
			if err := d.untag(id, ref); err != nil {
				return err
			}
		}
	}
	return d.image(id, r, d.force, false)
}

func (d *deletion) byName(text string, id digest.Digest, r *record, refs []reference.Named) error {
	if !d.force && singleReference(refs) {
		if users := d.s.users(id); len(users) > 0 {
			return fault.New(fault.Conflict, "conflict: unable to remove repository reference %q (must force) - container %s is using its referenced image %s", text, truncate(users[0].ID), short(id))
		}
	}
	t, err := parseTarget(text)
	if err != nil {
		return err
	}
	name := t.name
	if c, ok := name.(reference.Canonical); ok {
		if name, err = reference.WithDigest(reference.TrimNamed(name), c.Digest()); err != nil {
			return fault.New(fault.Invalid, "%s", err)
		}
	}
	if err := d.untag(id, name); err != nil {
		return err
	}
	if refs, err = namesOf(d.tx, id); err != nil {
		return err
	}
	// Digests of a repository go with its last tag.
	if _, canonical := name.(reference.Canonical); !canonical && !hasTag(refs, name.Name()) {
		var rest []reference.Named
		for _, ref := range refs {
			if ref.Name() != name.Name() {
				rest = append(rest, ref)
			} else if err := d.untag(id, ref); err != nil {
				return err
			}
		}
		refs = rest
	}
	if len(refs) > 0 {
		return nil
	}
	return d.image(id, r, d.force, true)
}

func hasTag(refs []reference.Named, repository string) bool {
	for _, ref := range refs {
		if _, canonical := ref.(reference.Canonical); !canonical && ref.Name() == repository {
			return true
		}
	}
	return false
}

// singleReference tells whether all names are of one repository with at most
// one tag: then the ID stands for exactly one thing a user knows.
func singleReference(refs []reference.Named) bool {
	tags := 0
	for _, ref := range refs {
		if _, canonical := ref.(reference.Canonical); !canonical {
			tags++
		}
		if ref.Name() != refs[0].Name() {
			return false
		}
	}
	return tags <= 1
}

func (d *deletion) untag(id digest.Digest, name reference.Named) error {
	if err := d.tx.Delete(nameBucket, name.String()); err != nil {
		return err
	}
	d.response = append(d.response, image.DeleteResponse{Untagged: reference.FamiliarString(name)})
	d.event(events.ActionUnTag, id)
	return nil
}

// image removes the image itself. quiet leaves one that is used, named or stood on in
// place without an error, because removing a name was all that was asked for.
func (d *deletion) image(id digest.Digest, r *record, force, quiet bool) error {
	conflict, err := d.conflict(id, conflicts{stopped: !force, names: !force})
	if err != nil {
		return err
	}
	if conflict != nil {
		// An image with children is left, too: they stand on it.
		if quiet && (conflict.used || conflict.hard || !d.nameless(id)) {
			return nil
		}
		return conflict
	}
	refs, err := namesOf(d.tx, id)
	if err != nil {
		return err
	}
	for _, ref := range refs {
		if err := d.untag(id, ref); err != nil {
			return err
		}
	}
	if err := d.forget(id, r); err != nil {
		return err
	}
	if !d.prune || r.Parent == "" {
		return nil
	}
	parent, err := getRecord(d.tx, r.Parent)
	if fault.Of(err) == fault.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	return d.image(r.Parent, parent, false, true)
}

func (d *deletion) nameless(id digest.Digest) bool {
	refs, err := namesOf(d.tx, id)
	return err == nil && len(refs) == 0
}

// forget removes the record, or hides it while stopped containers need the layers.
func (d *deletion) forget(id digest.Digest, r *record) error {
	d.event(events.ActionDelete, id)
	d.response = append(d.response, image.DeleteResponse{Deleted: id.String()})
	if len(d.s.users(id)) > 0 {
		r.Orphan = true
		return d.tx.Put(imageBucket, id.String(), r)
	}
	return d.erase(id, r)
}

func (d *deletion) erase(id digest.Digest, r *record) error {
	if err := d.tx.Delete(imageBucket, id.String()); err != nil {
		return err
	}
	d.gone = append(d.gone, r)
	d.blobs = append(append(d.blobs, id), r.Manifests...)
	for _, l := range r.Layers {
		list, err := layerBlobs(d.tx, l)
		if err != nil {
			return err
		}
		for _, b := range list {
			d.blobs = append(d.blobs, b.Digest)
		}
	}
	u, err := d.s.inUse(d.tx)
	if err != nil {
		return err
	}
	if err := u.forgetBlobs(d.tx); err != nil {
		return err
	}
	for i := len(r.Layers); i > 0; i-- {
		if !u.layers[r.Layers[i-1]] {
			d.response = append(d.response, image.DeleteResponse{Deleted: identity.ChainID(r.Layers[:i]).String()})
		}
	}
	return nil
}

// event publishes after the commit, with the labels as they are now.
func (d *deletion) event(action events.Action, id digest.Digest) {
	d.events = append(d.events, func() { d.s.publish(action, id, id.String()) })
}

// reclaim gives the disk space of the removed images back. The caller holds
// Service.mu, so no new image can have come to need it since the commit.
func (d *deletion) reclaim() error {
	if len(d.gone) == 0 {
		return nil
	}
	var u *used
	if err := d.s.store.View(func(tx *state.Tx) (err error) { u, err = d.s.inUse(tx); return err }); err != nil {
		return err
	}
	for _, id := range d.blobs {
		d.s.configs.drop(id)
		if u.blobs[id] {
			continue
		}
		failpoint.Hit("image.delete.blob")
		if err := d.s.blobs.Delete(id); err != nil {
			return err
		}
	}
	for _, r := range d.gone {
		if len(r.Layers) > 0 && !u.chains[identity.ChainID(r.Layers)] {
			if err := d.s.layers.Unchain(r.Layers); err != nil {
				return err
			}
		}
		if err := d.s.dropLayers(r.Layers, u); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) dropLayers(layers []digest.Digest, u *used) error {
	for _, l := range layers {
		if u.layers[l] {
			continue
		}
		failpoint.Hit("image.delete.layer")
		if err := s.layers.Remove(l); err != nil {
			return err
		}
	}
	return nil
}

// releaseInterval is how often an orphan is looked at.
const releaseInterval = 2 * time.Second

// awaitRelease removes orphans when their last containers are gone. It runs
// only while there are orphans.
func (s *Service) awaitRelease() {
	for {
		select {
		case <-s.closed:
			return
		case <-time.After(releaseInterval):
		}
		s.mu.Lock()
		left, err := s.settle()
		s.waiting = left > 0
		s.mu.Unlock()
		if err != nil {
			s.log.Warn("the disk space of a deleted image is not given back yet", "error", err)
		}
		if left == 0 {
			return
		}
	}
}

// settle removes the orphans that no container needs any more, and returns how
// many are left. The caller holds mu.
func (s *Service) settle() (left int, err error) {
	orphans := map[digest.Digest]*record{}
	err = s.store.View(func(tx *state.Tx) error {
		return eachRecord(tx, func(id digest.Digest, r *record) error {
			if r.Orphan {
				orphans[id] = r
			}
			return nil
		})
	})
	if err != nil {
		return 0, err
	}
	for id, r := range orphans {
		if len(s.users(id)) > 0 {
			left++
			continue
		}
		d := &deletion{s: s}
		err := s.store.Update(func(tx *state.Tx) error {
			d.tx = tx
			return d.erase(id, r)
		})
		if err == nil {
			err = d.reclaim()
		}
		if err != nil {
			return left, err
		}
	}
	return left, nil
}

func (s *Service) users(id digest.Digest) []Container {
	if s.InUse == nil {
		return nil
	}
	return s.InUse(id.String())
}

// conflicts says which soft conflicts count beside the hard ones.
type conflicts struct{ stopped, names bool }

// conflictError is Docker's sentence for an image that cannot be deleted.
type conflictError struct {
	id      digest.Digest
	hard    bool
	used    bool // by a container
	message string
}

func (e *conflictError) Error() string {
	must := "must be forced"
	if e.hard {
		must = "cannot be forced"
	}
	return "conflict: unable to delete " + short(e.id) + " (" + must + ") - " + e.message
}

// Unwrap gives the error its class.
func (e *conflictError) Unwrap() error { return fault.Conflict }

func (d *deletion) conflict(id digest.Digest, c conflicts) (*conflictError, error) {
	children := false
	err := eachRecord(d.tx, func(_ digest.Digest, r *record) error {
		children = children || r.Parent == id && !r.Orphan
		return nil
	})
	if err != nil {
		return nil, err
	}
	if children {
		return &conflictError{id: id, hard: true, message: "image has dependent child images"}, nil
	}
	var stopped string
	for _, user := range d.s.users(id) {
		if user.Running {
			return &conflictError{id: id, hard: true, used: true, message: "image is being used by running container " + truncate(user.ID)}, nil
		}
		if stopped == "" {
			stopped = user.ID
		}
	}
	if c.names && !d.nameless(id) {
		return &conflictError{id: id, message: "image is referenced in multiple repositories"}, nil
	}
	if c.stopped && stopped != "" {
		return &conflictError{id: id, used: true, message: "image is being used by stopped container " + truncate(stopped)}, nil
	}
	return nil, nil
}

// truncate is Docker's short form of a container ID.
func truncate(id string) string { return id[:min(len(id), 12)] }
