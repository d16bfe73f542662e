package transfer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"

	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/jsonstream"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/sampan-containers/sampan/content/lease"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/image"
	"github.com/sampan-containers/sampan/kernel/failpoint"
	"github.com/sampan-containers/sampan/registry/auth"
	"github.com/sampan-containers/sampan/registry/client"
)

// PushOptions are the parameters of images/{name}/push.
type PushOptions struct {
	Tag      string // when the name carries none; empty for all tags
	Platform string
	// Alone keeps an index back of which all platforms are here: clients before
	// API 1.46 cannot ask for one platform, and expect the image that the tag stands for.
	Alone bool
	Login auth.Credentials
}

// Push sends an image, or all tags of a repository when neither name nor Tag has
// one. Progress is Docker's JSON stream.
func (s *Service) Push(ctx context.Context, name string, o PushOptions, progress io.Writer) error {
	ref, err := image.ParsePull(name, o.Tag)
	if err != nil {
		return err
	}
	if _, digested := ref.(reference.Digested); digested {
		return fault.New(fault.Invalid, "cannot push a digest reference: push a tag")
	}
	ctx, done := s.begin(ctx)
	defer done()
	out := &output{w: progress}
	if err := out.status("", "The push refers to repository [%s]", ref.Name()); err != nil {
		return err
	}
	names, err := s.pushed(ctx, ref)
	if err != nil {
		return err
	}
	defer func() { go debug.FreeOSMemory() }()
	repo := s.Client().Repository(ref, o.Login)
	for _, one := range names {
		p := &pusher{s: s, ctx: ctx, ref: one, to: repo.Origin(), login: o.Login, out: out, alone: o.Alone}
		if p.img, err = s.images.NamedBy(one); err == nil {
			err = p.wanted(o.Platform)
		}
		if err == nil {
			err = p.run()
		}
		if err != nil {
			return fmt.Errorf("push %s: %w", reference.FamiliarString(one), noPrompt(err))
		}
	}
	return nil
}

// pushed lists the names that a push sends.
func (s *Service) pushed(ctx context.Context, ref reference.Named) ([]reference.Named, error) {
	if !reference.IsNameOnly(ref) {
		if _, err := s.images.NamedBy(ref); err != nil {
			if fault.Of(err) == fault.NotFound {
				return nil, fault.New(fault.NotFound, "An image does not exist locally with the tag: %s", reference.FamiliarName(ref))
			}
			return nil, err
		}
		return []reference.Named{ref}, nil
	}
	list, err := s.images.List(ctx, image.ListOptions{})
	if err != nil {
		return nil, err
	}
	var names []reference.Named
	for _, one := range list {
		for _, text := range one.RepoTags {
			if named, err := reference.ParseNormalizedNamed(text); err == nil && named.Name() == ref.Name() {
				names = append(names, named)
			}
		}
	}
	if len(names) == 0 {
		return nil, fault.New(fault.NotFound, "An image does not exist locally with the tag: %s", reference.FamiliarName(ref))
	}
	slices.SortFunc(names, func(a, b reference.Named) int {
		if a.String() < b.String() {
			return -1
		}
		return 1
	})
	return names, nil
}

// pusher is one push of one tag.
type pusher struct {
	s   *Service
	ctx context.Context
	ref reference.Named
	img *image.Image
	to  *client.Source
	out *output
	// login is what the push was given, for the registry it goes to.
	login auth.Credentials
	// repack says that layers which are not here compressed are packed again.
	repack bool
	// exactly is the only manifest that may be sent, if not empty.
	exactly digest.Digest
	// single says that one platform was asked for, alone that an index stays behind.
	single, alone bool
	// held are blobs that only this push needs.
	held []digest.Digest
}

func (p *pusher) wanted(platform string) error {
	if platform == "" {
		return nil
	}
	want, err := image.ParsePlatform(platform)
	if err != nil {
		return err
	}
	p.single = true
	have := ocispec.Platform{OS: p.img.Config.OS, Architecture: p.img.Config.Architecture, Variant: p.img.Config.Variant}
	if fits(&have, want) == 0 {
		if other := p.sibling(want); other != nil {
			p.img = other
			return nil
		}
		return fault.New(fault.NotFound, "the image here is for %s, not for %s", platformText(have), platformText(want))
	}
	return nil
}

func (p *pusher) run() error {
	if !p.single && !p.alone {
		if idx, members := p.whole(); idx != nil {
			if err := p.sendIndex(idx, members); !errors.Is(err, errGone) {
				return err
			}
		}
	}
	plan, err := p.send(p.tag())
	if err != nil {
		return err
	}
	failpoint.Hit("image.push.record")
	if err := p.announce(plan.raw); err != nil {
		return err
	}
	if p.single {
		return nil // as it was asked for
	}
	return p.insteadOf(plan)
}

func (p *pusher) tag() string { return p.ref.(reference.Tagged).Tag() }

// send brings the image to the registry under a tag, or its digest.
func (p *pusher) send(as string) (*plan, error) {
	lease, err := p.s.images.Leases().Take("push "+p.ref.String(), append([]digest.Digest{p.img.ID}, p.img.Manifests()...), p.img.Config.RootFS.DiffIDs)
	if err != nil {
		return nil, err
	}
	defer p.end(lease)
	parts, list := p.parts()
	r := report(p.out, &pushWords, list)
	defer func() { p.s.images.Unhold(nil, p.held) }()
	plan, err := p.plan(parts)
	if err == nil {
		err = p.blobs(plan, parts)
	}
	if errors.Is(err, errGone) && p.exactly == "" {
		p.repack = true
		if plan, err = p.plan(parts); err == nil {
			err = p.blobs(plan, parts)
		}
	}
	r.stop()
	if err != nil {
		return nil, err
	}
	return plan, p.putManifest(as, plan.mediaType, plan.raw)
}

func (p *pusher) end(l *lease.Lease) {
	if err := l.Release(); err != nil {
		p.s.log.Warn("a lease ends only with its time", "error", err)
	}
}

func (p *pusher) putManifest(as, mediaType string, raw []byte) error {
	if err := p.to.PutManifest(p.ctx, as, mediaType, raw); err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	return nil
}

// announce records what the tag stands for in the registry now, and tells the client.
func (p *pusher) announce(raw []byte) error {
	d, tag := digest.FromBytes(raw), p.tag()
	if err := p.recordPush(d, raw); err != nil {
		return err
	}
	p.s.images.Publish(events.ActionPush, p.img.ID, reference.FamiliarString(p.ref))
	if err := p.out.status("", "%s: digest: %s size: %d", tag, d, len(raw)); err != nil {
		return err
	}
	aux, err := json.Marshal(struct {
		Tag    string
		Digest digest.Digest
		Size   int
	}{tag, d, len(raw)})
	if err != nil {
		return err
	}
	rawAux := json.RawMessage(aux)
	return p.out.message(jsonstream.Message{Aux: &rawAux})
}

// parts are the layers as the progress shows them, each once, top first.
func (p *pusher) parts() (map[digest.Digest]*part, []*part) {
	parts := map[digest.Digest]*part{}
	var list []*part
	ids := p.img.Config.RootFS.DiffIDs
	for i := len(ids) - 1; i >= 0; i-- {
		if parts[ids[i]] == nil {
			parts[ids[i]] = &part{id: cut(ids[i])}
			list = append(list, parts[ids[i]])
		}
	}
	return parts, list
}

// recordPush keeps the manifest and gives the image its name@digest.
func (p *pusher) recordPush(d digest.Digest, raw []byte) error {
	name, err := reference.WithDigest(reference.TrimNamed(p.ref), d)
	if err != nil {
		return err
	}
	blobs := p.s.images.Blobs()
	for !blobs.Hold(d) {
		if _, _, err := blobs.Put(p.ctx, bytesReader(raw), d, client.MaxManifest); err != nil {
			return err
		}
	}
	defer p.s.images.Unhold(nil, []digest.Digest{d})
	if err := p.s.images.Left(p.img.ID, name, d); err != nil && !errors.Is(err, fault.NotFound) {
		return err // NotFound: it was deleted meanwhile, and is pushed all the same
	}
	return nil
}

// blobs sends what the registry lacks: the layers beside each other, then the
// config.
func (p *pusher) blobs(plan *plan, parts map[digest.Digest]*part) error {
	g, ctx := errgroup.WithContext(p.ctx)
	seen := map[digest.Digest]bool{}
	for _, l := range plan.layers {
		if seen[l.blob.Digest] {
			continue
		}
		seen[l.blob.Digest] = true
		g.Go(func() error { return p.layer(ctx, l, parts[l.diffID]) })
	}
	g.Go(func() error {
		return p.upload(ctx, plan.config, &part{id: cut(plan.config.Digest), size: plan.config.Size}, func(offset int64) (io.ReadCloser, error) {
			return io.NopCloser(bytesReader(plan.configRaw[offset:])), nil
		}, false)
	})
	return g.Wait()
}

func (p *pusher) layer(ctx context.Context, l layerPlan, show *part) error {
	show.enter(waiting)
	uploads := p.s.way.Load().uploads
	select {
	case uploads <- struct{}{}:
		defer func() { <-uploads }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if mounted, err := p.elsewhere(ctx, l, show); mounted || err != nil {
		return err
	}
	if l.absent {
		return p.passOn(ctx, l, show)
	}
	return p.upload(ctx, l.blob, show, func(offset int64) (io.ReadCloser, error) {
		f, err := p.s.images.Blobs().Open(l.blob.Digest)
		if err != nil {
			return nil, err
		}
		if _, err := f.Seek(offset, io.SeekStart); err != nil {
			f.Close()
			return nil, err
		}
		return f, nil
	}, true)
}

// elsewhere finds the layer in the registry: in the repository, or in another one
// that it can be mounted from.
func (p *pusher) elsewhere(ctx context.Context, l layerPlan, show *part) (bool, error) {
	there, err := p.to.HasBlob(ctx, l.blob, true)
	if err != nil {
		return false, err
	}
	if there {
		show.enter(skipped)
		return true, nil
	}
	const maxMounts = 3
	domain, path := reference.Domain(p.ref), reference.Path(p.ref)
	from, err := p.s.images.Repositories(domain, l.diffID)
	if err != nil {
		return false, err
	}
	from = slices.DeleteFunc(from, func(repo string) bool { return repo == path })
	slices.Sort(from)
	from = slices.Compact(from)
	for _, repo := range from[:min(len(from), maxMounts)] {
		mounted, err := p.to.Mount(ctx, l.blob, repo)
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		if err == nil && mounted {
			show.say("Mounted from " + repo)
			show.enter(skipped)
			return true, nil
		}
	}
	return false, nil
}

// upload sends one blob. checked is false when nobody has asked for it yet.
func (p *pusher) upload(ctx context.Context, d ocispec.Descriptor, show *part, content client.Content, checked bool) error {
	if !checked {
		there, err := p.to.HasBlob(ctx, d, true)
		if err != nil || there {
			return err
		}
	}
	if show.phase.Load() < moving { // else a reporter reads it already: this is another try
		show.size = d.Size
	}
	show.enter(moving)
	err := p.to.Upload(ctx, d, func(offset int64) (io.ReadCloser, error) {
		r, err := content(offset)
		if err != nil {
			return nil, err
		}
		show.done.Store(offset)
		return &counting{ReadCloser: r, show: show}, nil
	}, func(err error) { show.say("Retrying: " + err.Error()) })
	if err == nil {
		show.enter(complete)
	}
	return err
}

// counting counts what is read from a blob.
type counting struct {
	io.ReadCloser
	show *part
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.show.done.Add(int64(n))
	return n, err
}
