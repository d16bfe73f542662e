package image

import (
	"context"
	"slices"

	"github.com/moby/moby/api/types/image"

	"github.com/sampan-containers/sampan/fault"
)

// missingID stands for the images of steps that were made somewhere else.
const missingID = "<missing>"

// History answers images/{name}/history, newest first.
func (s *Service) History(ctx context.Context, ref string) ([]image.HistoryResponseItem, error) {
	img, err := s.Get(ctx, ref)
	if err != nil {
		return nil, err
	}
	items := []image.HistoryResponseItem{}
	layers := img.Config.RootFS.DiffIDs
	for _, h := range img.Config.History {
		item := image.HistoryResponseItem{ID: missingID, CreatedBy: h.CreatedBy, Comment: h.Comment}
		if h.Created != nil {
			item.Created = h.Created.Unix()
		}
		if !h.EmptyLayer {
			if len(layers) == 0 {
				return nil, fault.New(fault.Invalid, "image %s: its history has more steps than it has layers", short(img.ID))
			}
			info, err := s.layers.Stat(layers[0])
			if err != nil {
				return nil, err
			}
			item.Size = info.Size
			layers = layers[1:]
		}
		items = append(items, item)
	}
	slices.Reverse(items)
	// The newest step is the image itself; older ones have an ID only where the
	// image that ended with them was made here.
	for i := range items {
		items[i].ID = img.ID.String()
		if len(img.RepoTags) > 0 {
			items[i].Tags = img.RepoTags
		}
		if img.Parent == "" {
			break
		}
		if img, err = s.Get(ctx, img.Parent.String()); err != nil {
			break // the parent was removed since
		}
	}
	return items, nil
}
