package image

import (
	"encoding/json"
	"io"

	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/registry"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/image"
	"github.com/sampan-containers/sampan/image/transfer"
	"github.com/sampan-containers/sampan/registry/auth"
	"github.com/sampan-containers/sampan/server"
)

// platformParameterSince is the version in which images/create got a platform.
var platformParameterSince = server.V(1, 32)

// create pulls an image, or imports a tar that comes as the body. Both answer a
// stream of JSON messages; an error after its first byte is a message too.
func (r routes) create(c *server.Call) error {
	platform := ""
	if c.Version >= platformParameterSince {
		platform = c.Query("platform")
	}
	out := c.StreamWriter("application/json")
	defer out.Close()
	var err error
	if name := c.Query("fromImage"); name != "" {
		var login auth.Credentials
		if login, err = auth.ParseHeader(c.Header.Get(registry.AuthHeader)); err == nil {
			err = r.transfers.Pull(c.Context(), name, transfer.PullOptions{Tag: c.Query("tag"), Platform: platform, Login: login}, out)
		}
	} else {
		err = r.load(c, platform, out)
	}
	return endStream(out, err)
}

// endStream ends a stream of messages: an error is a status, or the last message
// if the stream has begun.
func endStream(out *server.StreamWriter, err error) error {
	if err == nil {
		out.Start()
		return nil
	}
	if !out.Started() {
		return server.FromRegistry(err)
	}
	return json.NewEncoder(out).Encode(streamError{Detail: errorDetail{err.Error()}, Error: err.Error()})
}

// streamError is the last message of a stream that failed, in the form that
// clients of all versions read.
type streamError struct {
	Detail errorDetail `json:"errorDetail"`
	Error  string      `json:"error"`
}

type errorDetail struct {
	Message string `json:"message"`
}

func (r routes) load(c *server.Call, platform string, out *server.StreamWriter) error {
	source := c.Query("fromSrc")
	if source == "" {
		return fault.New(fault.Invalid, "images/create needs fromImage=NAME to pull, or fromSrc=- with a tar as the body to import")
	}
	ref := ""
	if repo := c.Query("repo"); repo != "" {
		named, err := target(repo, c.Query("tag"))
		if err != nil {
			return err
		}
		ref = reference.FamiliarString(named)
	}
	message := c.Query("message")
	if message == "" {
		message = "Imported from " + source
	}
	body := io.Reader(c.Body)
	if source != "-" {
		remote, err := fetch(c.Context(), source)
		if err != nil {
			return err
		}
		defer remote.Close()
		body = remote
	}
	_, err := r.images.Import(c.Context(), body, image.ImportOptions{
		Reference: ref, Message: message, Changes: c.Queries()["changes"], Platform: platform,
	}, out)
	return err
}

// target is the name that an image is to get.
func target(repo, tag string) (reference.NamedTagged, error) {
	named, err := reference.ParseNormalizedNamed(repo)
	if err != nil {
		return nil, fault.New(fault.Invalid, "%q is no image name: %w", repo, err)
	}
	if _, digested := named.(reference.Digested); digested {
		return nil, fault.New(fault.Invalid, "%q has a digest: a name for an image is NAME[:TAG]", repo)
	}
	if tag != "" {
		tagged, err := reference.WithTag(reference.TrimNamed(named), tag)
		if err != nil {
			return nil, fault.New(fault.Invalid, "%q is no image tag: %w", tag, err)
		}
		return tagged, nil
	}
	return reference.TagNameOnly(named).(reference.NamedTagged), nil
}
