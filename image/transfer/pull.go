package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"

	"github.com/distribution/reference"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/moby/moby/api/types/events"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/image"
	"github.com/sampan-containers/sampan/kernel/failpoint"
	"github.com/sampan-containers/sampan/registry/auth"
	"github.com/sampan-containers/sampan/registry/client"
)

// PullOptions are the parameters of images/create?fromImage=.
type PullOptions struct {
	Tag      string // tag or digest, when the name carries none
	Platform string
	Login    auth.Credentials
}

// Pull brings an image, or every tag of a repository when neither name nor Tag
// has one. Progress is Docker's JSON stream. Nothing is written to it before the
// registry has answered, so that its refusal can be a status.
func (s *Service) Pull(ctx context.Context, name string, o PullOptions, progress io.Writer) error {
	ref, err := image.ParsePull(name, o.Tag)
	if err != nil {
		return err
	}
	if image.IsBuiltin(ref) {
		return s.images.PullBuiltin(ctx, ref, o.Platform, progress)
	}
	platform, err := image.ParsePlatform(o.Platform)
	if err != nil {
		return err
	}
	ctx, done := s.begin(ctx)
	defer done()
	defer func() { go debug.FreeOSMemory() }() // decoders and buffers are larger than the idle daemon
	out := &output{w: progress}
	repo := s.Client().Repository(ref, o.Login)
	if !reference.IsNameOnly(ref) {
		p := &puller{s: s, ctx: ctx, ref: ref, repo: repo, platform: platform, out: out}
		if err := p.run(); err != nil {
			return err
		}
		return status(out, ref, p.changed)
	}
	tags, err := everyTag(ctx, ref, repo)
	if err != nil {
		return explain(ref, err)
	}
	changed := false
	for _, tag := range tags {
		tagged, err := reference.WithTag(ref, tag)
		if err != nil {
			continue // a tag that no reference can hold
		}
		p := &puller{s: s, ctx: ctx, ref: tagged, repo: repo, platform: platform, out: out}
		if err := p.run(); err != nil {
			return err
		}
		changed = changed || p.changed
	}
	return status(out, ref, changed)
}

// status is the last line of a pull.
func status(out *output, ref reference.Named, changed bool) error {
	if changed {
		return out.status("", "Status: Downloaded newer image for %s", reference.FamiliarString(ref))
	}
	return out.status("", "Status: Image is up to date for %s", reference.FamiliarString(ref))
}

func everyTag(ctx context.Context, ref reference.Named, repo *client.Repository) ([]string, error) {
	tags, err := repo.Origin().Tags(ctx)
	if err == nil && len(tags) == 0 {
		err = fault.New(fault.NotFound, "repository %s has no tags", reference.FamiliarName(ref))
	}
	slices.Sort(tags)
	return tags, err
}

// puller is one pull of one tag or digest.
type puller struct {
	s        *Service
	ctx      context.Context
	ref      reference.Named
	repo     *client.Repository
	platform ocispec.Platform
	out      *output

	sources   []*client.Source // the one that gave the manifest first
	top       digest.Digest    // what the tag stands for
	manifests []described      // top, and what was chosen from it
	changed   bool             // the name stands for another image now
}

// described is a manifest or index as its bytes.
type described struct {
	desc ocispec.Descriptor
	raw  []byte
}

// asked is what the registry is asked for: a digest, if the name has one.
func (p *puller) asked() string {
	if d, ok := p.ref.(reference.Digested); ok {
		return d.Digest().String()
	}
	return p.ref.(reference.Tagged).Tag()
}

func (p *puller) run() error {
	old, _ := p.s.images.NamedBy(p.ref) // what stands under the name now, if anything
	current, err := p.manifest(old)
	if err != nil {
		return explain(p.ref, err)
	}
	id := p.asked()
	if _, byDigest := p.ref.(reference.Digested); byDigest {
		id = p.ref.String() // as Docker has it
	}
	if err := p.out.status(id, "Pulling from %s", reference.Path(p.ref)); err != nil {
		return err
	}
	got := digest.Digest("")
	if current != nil {
		got = current.ID
	} else if got, err = p.image(); err != nil {
		return explain(p.ref, err)
	}
	p.s.images.Publish(events.ActionPull, got, reference.FamiliarString(p.ref))
	p.changed = old == nil || old.ID != got
	return p.out.status("", "Digest: %s", p.top)
}

// manifest finds a source that has the image. For an image that is here already
// one HEAD is enough: it returns the image if nothing has changed.
func (p *puller) manifest(old *image.Image) (*image.Image, error) {
	var failure error
	all := p.repo.Sources()
	for i, src := range all {
		current, err := p.from(src, old)
		if err == nil {
			p.sources = append([]*client.Source{src}, slices.Delete(slices.Clone(all), i, i+1)...)
			return current, nil
		}
		if p.ctx.Err() != nil {
			return nil, p.ctx.Err()
		}
		if src.Mirror() {
			p.s.log.Info("a mirror does not have an image", "mirror", src.String(), "image", p.ref.String(), "error", err)
		}
		failure = err
	}
	return nil, failure
}

func (p *puller) from(src *client.Source, old *image.Image) (*image.Image, error) {
	if old != nil {
		desc, err := src.Resolve(p.ctx, p.asked())
		if err == nil {
			if current := p.have(desc.Digest, old); current != nil {
				p.top = desc.Digest
				return current, nil
			}
		} else if !errors.Is(err, fault.NotImplemented) {
			return nil, err
		}
	}
	desc, raw, err := src.Manifest(p.ctx, p.asked())
	if err != nil {
		return nil, err
	}
	p.top, p.manifests = desc.Digest, []described{{desc, raw}}
	for depth := 0; ; depth++ {
		last := p.manifests[len(p.manifests)-1]
		child, isIndex, err := pick(last, p.platform)
		if err != nil || !isIndex {
			return nil, err
		}
		if depth == maxIndexDepth {
			return nil, fault.New(fault.Invalid, "indexes are nested more than %d deep", maxIndexDepth)
		}
		got, raw, err := src.Manifest(p.ctx, child.Digest.String())
		if err != nil {
			return nil, err
		}
		if got.Size != child.Size || got.MediaType != child.MediaType {
			return nil, fault.New(fault.Invalid, "manifest %s is %d bytes of type %q, and its index says %d bytes of type %q", child.Digest, got.Size, got.MediaType, child.Size, child.MediaType)
		}
		p.manifests = append(p.manifests, described{got, raw})
	}
}

// have returns the old image if it is what the registry has under that digest,
// for this platform, and whole.
func (p *puller) have(d digest.Digest, old *image.Image) *image.Image {
	name, err := reference.WithDigest(reference.TrimNamed(p.ref), d)
	if err != nil {
		return nil
	}
	same, err := p.s.images.NamedBy(name)
	if err != nil || same.ID != old.ID {
		return nil
	}
	own := ocispec.Platform{OS: old.Config.OS, Architecture: old.Config.Architecture, Variant: old.Config.Variant}
	if fits(&own, p.platform) == 0 {
		return nil
	}
	if _, err := p.s.images.Lowers(old); err != nil {
		return nil // a layer is missing: fetch it again
	}
	return same
}

// image brings everything that the manifest names and records the image.
func (p *puller) image() (digest.Digest, error) {
	m, err := parseManifest(p.manifests[len(p.manifests)-1])
	if err != nil {
		return "", err
	}
	raw, cfg, err := p.config(m.Config)
	if err != nil {
		return "", err
	}
	if len(cfg.RootFS.DiffIDs) != len(m.Layers) {
		return "", fault.New(fault.Invalid, "the image's config names %d layers and its manifest %d", len(cfg.RootFS.DiffIDs), len(m.Layers))
	}
	documents := [][]byte{raw}
	for _, d := range p.manifests {
		documents = append(documents, d.raw)
	}
	if err := oneMeaning(m.Layers, cfg.RootFS.DiffIDs, documents); err != nil {
		return "", err
	}
	set, err := p.layers(cfg.RootFS.DiffIDs, m.Layers, documents)
	defer set.leave()
	if err != nil {
		return "", err
	}
	arrival := image.Arrival{Config: raw, ID: m.Config.Digest, Layers: set.arrived()}
	if cfg.Created != nil {
		arrival.Created = *cfg.Created
	}
	for _, d := range p.manifests {
		arrival.Manifests = append(arrival.Manifests, d.desc.Digest)
	}
	if arrival.Names, err = p.names(); err != nil {
		return "", err
	}
	failpoint.Hit("image.pull.arrive")
	id, err := p.s.images.Arrive(p.ctx, arrival)
	if err == nil {
		failpoint.Hit("image.pull.arrived")
		set.succeed()
	}
	return id, err
}

// oneMeaning refuses an image that gives one blob as two different layers, or as a
// layer and a document: it lies, and each would wait for the other's Writer.
func oneMeaning(blobs []ocispec.Descriptor, diffIDs []digest.Digest, documents [][]byte) error {
	means := map[digest.Digest]digest.Digest{}
	for _, raw := range documents {
		means[digest.FromBytes(raw)] = ""
	}
	for i, blob := range blobs {
		other, twice := means[blob.Digest]
		if twice && other != diffIDs[i] {
			return fault.New(fault.Invalid, "the image's manifest names blob %s for two different things", blob.Digest)
		}
		means[blob.Digest] = diffIDs[i]
	}
	return nil
}

func (p *puller) names() ([]reference.Named, error) {
	digested, err := reference.WithDigest(reference.TrimNamed(p.ref), p.top)
	if err != nil {
		return nil, err
	}
	names := []reference.Named{digested}
	if _, byDigest := p.ref.(reference.Digested); !byDigest {
		names = append(names, p.ref)
	}
	return names, nil
}

// config fetches the image's config, or reads it if it is here.
func (p *puller) config(d ocispec.Descriptor) ([]byte, *dockerspec.DockerOCIImage, error) {
	raw, err := p.s.images.Blobs().Read(d.Digest, maxConfig)
	if err != nil || int64(len(raw)) != d.Size {
		for _, src := range p.sources {
			if raw, err = src.SmallBlob(p.ctx, d, maxConfig); err == nil {
				break
			}
		}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("the image's config: %w", err)
	}
	cfg, err := parseConfig(raw)
	return raw, cfg, err
}

// explain gives a failure Docker's sentence for it.
func explain(ref reference.Named, err error) error {
	text := reference.FamiliarString(ref)
	switch client.Code(err) {
	case "DENIED", "UNAUTHORIZED":
		return fault.New(fault.NotFound, "pull access denied for %s, repository does not exist or may require 'docker login': %w", reference.FamiliarName(ref), err)
	case "MANIFEST_UNKNOWN":
		return fault.New(fault.NotFound, "manifest for %s not found: %w", text, err)
	case "NAME_UNKNOWN":
		return fault.New(fault.NotFound, "repository %s not found: %w", reference.FamiliarName(ref), err)
	}
	if fault.Of(err) == nil && !errors.Is(err, context.Canceled) {
		err = fault.Wrap(fault.Unavailable, err)
	}
	return fmt.Errorf("pull %s: %w", text, noPrompt(err))
}

// noPrompt takes the class off a refusal for want of a login. A status 401 would
// make Docker's client ask its user for one, where dockerd answers with 500.
func noPrompt(err error) error {
	if fault.Of(err) == fault.Unauthorized {
		return errors.New(err.Error())
	}
	return err
}
