package container

import (
	"net/http"

	"github.com/distribution/reference"
	api "github.com/moby/moby/api/types/container"
	"github.com/sampan-containers/sampan/container"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/server"
)

// commitBody is a config in the forms of all versions.
type commitBody struct {
	*api.Config
	Cmd        words
	Entrypoint words
}

func (r routes) commit(c *server.Call) error {
	var body commitBody
	if err := c.Decode(&body); err != nil {
		return err
	}
	ref := c.Query("container")
	if ref == "" {
		return fault.New(fault.Invalid, "commit needs the parameter container")
	}
	o := container.CommitOptions{
		Author: c.Query("author"), Comment: c.Query("comment"), Changes: c.Queries()["changes"],
		Pause: c.Query("pause") == "" || c.Bool("pause"),
	}
	if repo := c.Query("repo"); repo != "" {
		named, err := reference.ParseNormalizedNamed(repo)
		if err != nil {
			return fault.New(fault.Invalid, "%q is no image name: %w", repo, err)
		}
		if tag := c.Query("tag"); tag != "" {
			if named, err = reference.WithTag(reference.TrimNamed(named), tag); err != nil {
				return fault.New(fault.Invalid, "%q is no image tag: %w", tag, err)
			}
		}
		o.Reference = reference.FamiliarString(reference.TagNameOnly(named))
	}
	if body.Config != nil || body.Cmd != nil || body.Entrypoint != nil {
		if body.Config == nil {
			body.Config = &api.Config{}
		}
		body.Config.Cmd, body.Config.Entrypoint = body.Cmd, body.Entrypoint
		o.Config = body.Config
	}
	id, err := r.containers.Commit(c.Context(), ref, o)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusCreated, api.CommitResponse{ID: id})
}
