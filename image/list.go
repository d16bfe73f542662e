package image

import (
	"context"
	"errors"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/image"
	"github.com/opencontainers/go-digest"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/state"
)

// unknown is Docker's value for a figure that was not asked for.
const unknown = -1

// ListOptions are the parameters of images/json. Filters holds each key's
// values: reference, dangling, label, before, since, until.
type ListOptions struct {
	All        bool
	SharedSize bool
	Manifests  bool // describe the platforms that are here
	Filters    map[string][]string
}

// selection is the parsed filters.
type selection struct {
	dangling      *bool
	references    []string
	labels        []string
	before, since time.Time // zero: no bound
}

// List answers images/json, newest first. Parents of other images that have no
// name are shown only with All.
func (s *Service) List(ctx context.Context, o ListOptions) ([]image.Summary, error) {
	sel, err := s.parseFilters(ctx, o.Filters)
	if err != nil {
		return nil, err
	}
	list := []image.Summary{}
	shared := map[digest.Digest]int{} // layer → images that have it
	var chains [][]digest.Digest
	err = s.store.View(func(tx *state.Tx) error {
		parents := map[digest.Digest]bool{}
		err := eachRecord(tx, func(_ digest.Digest, r *record) error {
			parents[r.Parent] = true
			for _, l := range r.Layers {
				shared[l]++
			}
			return nil
		})
		if err != nil {
			return err
		}
		return eachRecord(tx, func(id digest.Digest, r *record) error {
			if r.Orphan {
				return nil
			}
			img, err := s.assemble(tx, id, r)
			if err != nil {
				// One damaged image must not hide the others.
				s.log.Warn("image left out of the list", "image", id.String(), "error", err)
				return nil
			}
			if summary, ok := sel.summarize(img, o.All || !parents[id]); ok {
				if o.Manifests {
					if summary.Manifests, err = s.manifestsOf(tx, img); err != nil {
						return err
					}
				}
				list = append(list, summary)
				chains = append(chains, r.Layers)
			}
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	if o.SharedSize {
		for i := range list {
			if list[i].SharedSize, err = s.sharedSize(chains[i], shared); err != nil {
				return nil, err
			}
		}
	}
	slices.SortStableFunc(list, func(a, b image.Summary) int { return int(b.Created - a.Created) })
	return list, nil
}

func (s *Service) sharedSize(layers []digest.Digest, images map[digest.Digest]int) (int64, error) {
	var sum int64
	for _, l := range layers {
		if images[l] < 2 {
			continue
		}
		info, err := s.layers.Stat(l)
		if errors.Is(err, fault.NotFound) || errors.Is(err, fault.Unavailable) {
			continue // a damaged image must not break a list
		}
		if err != nil {
			return 0, err
		}
		sum += info.Size
	}
	return sum, nil
}

// summarize makes a list entry, if the image passes the filters. A nameless
// image is shown only when it stands for itself (visible).
func (sel *selection) summarize(img *Image, visible bool) (image.Summary, bool) {
	tags, digests := img.RepoTags, img.RepoDigests
	if len(sel.references) > 0 {
		tags, digests = sel.matching(tags), sel.matching(digests)
		if len(tags)+len(digests) == 0 {
			return image.Summary{}, false
		}
	}
	nameless := len(img.RepoTags) == 0 && len(img.RepoDigests) == 0
	switch {
	case nameless && !visible,
		nameless && sel.dangling != nil && !*sel.dangling,
		!nameless && sel.dangling != nil && *sel.dangling && len(tags) > 0,
		!sel.before.IsZero() && !img.Created.Before(sel.before),
		!sel.since.IsZero() && !img.Created.After(sel.since),
		!hasLabels(img.Config.Config.Labels, sel.labels):
		return image.Summary{}, false
	}
	created := img.Created.Unix()
	if img.Created.IsZero() {
		created = 0
	}
	return image.Summary{
		ID:          img.ID.String(),
		ParentID:    img.Parent.String(),
		RepoTags:    tags,
		RepoDigests: digests,
		Created:     created,
		Size:        img.Size,
		SharedSize:  unknown,
		Containers:  unknown,
		Labels:      img.Config.Config.Labels,
	}, true
}

func (sel *selection) matching(names []string) []string {
	out := []string{}
	for _, name := range names {
		ref, err := reference.ParseNormalizedNamed(name)
		if err != nil {
			continue
		}
		for _, pattern := range sel.references {
			// The patterns were tried when they were parsed.
			if ok, _ := reference.FamiliarMatch(pattern, ref); ok {
				out = append(out, name)
				break
			}
		}
	}
	return out
}

func hasLabels(have map[string]string, want []string) bool {
	for _, w := range want {
		key, value, exact := strings.Cut(w, "=")
		got, ok := have[key]
		if !ok || exact && got != value {
			return false
		}
	}
	return true
}

func (s *Service) parseFilters(ctx context.Context, filters map[string][]string) (*selection, error) {
	sel := &selection{}
	for key, values := range filters {
		for _, value := range values {
			if err := s.parseFilter(ctx, sel, key, value); err != nil {
				return nil, err
			}
		}
	}
	return sel, nil
}

func (s *Service) parseFilter(ctx context.Context, sel *selection, key, value string) error {
	switch key {
	case "dangling":
		b, err := strconv.ParseBool(value)
		if err != nil || sel.dangling != nil && *sel.dangling != b {
			return fault.New(fault.Invalid, "invalid filter 'dangling=[%s]'", value)
		}
		sel.dangling = &b
	case "reference":
		if _, err := path.Match(value, ""); err != nil {
			return fault.New(fault.Invalid, "invalid filter 'reference=%s': %w", value, err)
		}
		sel.references = append(sel.references, value)
	case "label":
		sel.labels = append(sel.labels, value)
	case "before", "since":
		img, err := s.Get(ctx, value)
		if err != nil {
			return err
		}
		sel.bound(key, img.Created)
	case "until":
		t, err := parseTime(value)
		if err != nil {
			return err
		}
		sel.bound("before", t)
	default:
		return fault.New(fault.Invalid, "invalid filter '%s'", key)
	}
	return nil
}

// bound narrows the selection: of several values the strictest counts.
func (sel *selection) bound(key string, t time.Time) {
	if key == "before" {
		if sel.before.IsZero() || t.Before(sel.before) {
			sel.before = t
		}
	} else if sel.since.IsZero() || t.After(sel.since) {
		sel.since = t
	}
}

// parseTime reads the forms that Docker takes in time filters: seconds of the
// epoch, RFC 3339 with or without zone, a date, or an age such as 10m.
func parseTime(text string) (time.Time, error) {
	if age, err := time.ParseDuration(text); err == nil {
		return time.Now().Add(-age), nil
	}
	if sec, err := strconv.ParseFloat(text, 64); err == nil {
		return time.Unix(0, int64(sec*float64(time.Second))), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fault.New(fault.Invalid, "invalid filter 'until=%s': want a time such as 2006-01-02T15:04:05Z, seconds of the epoch, or an age such as 24h", text)
}
