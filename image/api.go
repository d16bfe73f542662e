package image

import (
	"context"
	"errors"
	"io"

	"github.com/moby/moby/api/types/image"
	"github.com/opencontainers/go-digest"

	"github.com/sampan-containers/sampan/state"
)

var errTodo = errors.New("being written")

// New opens the stores below cfg.Root and removes what a crash left there.
func New(cfg Config, store *state.Store, bus Publisher) (*Service, error) { return nil, errTodo }

// Close waits for the background removal to reach a safe point.
func (s *Service) Close() error { return nil }

// Get finds an image by name, name:tag, name@digest, ID or unique ID prefix.
// fault.NotFound carries Docker's text "No such image: X"; an ambiguous prefix
// is fault.Invalid.
func (s *Service) Get(ctx context.Context, ref string) (*Image, error) { return nil, errTodo }

// Lowers returns the image's layer directories, top first, as overlay wants
// them. It may contain one directory more than the image has layers: it mends
// the parents that a layer's tar implies but does not list.
func (s *Service) Lowers(img *Image) ([]string, error) { return nil, errTodo }

// List answers images/json.
func (s *Service) List(ctx context.Context, o ListOptions) ([]image.Summary, error) {
	return nil, errTodo
}

// Inspect answers images/{name}/json.
func (s *Service) Inspect(ctx context.Context, ref string) (*image.InspectResponse, error) {
	return nil, errTodo
}

// History answers images/{name}/history, newest first.
func (s *Service) History(ctx context.Context, ref string) ([]image.HistoryResponseItem, error) {
	return nil, errTodo
}

// Tag gives the image that ref names a further name, repo[:tag], taking it
// from whichever image had it.
func (s *Service) Tag(ctx context.Context, ref, repo, tag string) error { return errTodo }

// Delete removes a name, or the image when it was the last one, with Docker's
// rules and its conflict texts. prune also removes untagged parents.
func (s *Service) Delete(ctx context.Context, ref string, force, prune bool) ([]image.DeleteResponse, error) {
	return nil, errTodo
}

// Import makes an image of one layer from a tar, plain or compressed, and
// writes Docker's JSON progress. It returns the new image's ID. Nothing is
// kept when it fails.
func (s *Service) Import(ctx context.Context, r io.Reader, o ImportOptions, progress io.Writer) (digest.Digest, error) {
	return "", errTodo
}

// Pull answers images/create?fromImage=. It knows only sampan/box yet;
// everything else is fault.NotImplemented.
func (s *Service) Pull(ctx context.Context, name string, o PullOptions, progress io.Writer) error {
	return errTodo
}

// EnsureBuiltin makes sampan/box:latest from the sampan-box binary if it is
// not there or was made from another binary.
func (s *Service) EnsureBuiltin(ctx context.Context) (*Image, error) { return nil, errTodo }

// Count returns the number of images, for /info.
func (s *Service) Count() int { return 0 }

type parsedConfigs struct{}
