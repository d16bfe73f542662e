package client

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/url"

	"github.com/moby/moby/api/types/container"

	"github.com/sampan-containers/sampan/cli/http1"
)

// pathStatHeader carries the state of the file that is copied.
const pathStatHeader = "X-Docker-Container-Path-Stat"

// ContainerStatPathOptions name a file of a container.
type ContainerStatPathOptions struct{ Path string }

// ContainerStatPathResult is the state of a file.
type ContainerStatPathResult struct{ Stat container.PathStat }

// ContainerStatPath looks at a file of a container.
func (c *Client) ContainerStatPath(ctx context.Context, name string, o ContainerStatPathOptions) (ContainerStatPathResult, error) {
	name, err := checked("container", name)
	if err != nil {
		return ContainerStatPathResult{}, err
	}
	resp, err := c.do(ctx, head("/containers/"+name+"/archive", url.Values{"path": {o.Path}}))
	if err != nil {
		return ContainerStatPathResult{}, err
	}
	resp.Body.Close()
	stat, err := pathStat(resp.Header)
	return ContainerStatPathResult{Stat: stat}, err
}

func pathStat(h http1.Header) (container.PathStat, error) {
	var stat container.PathStat
	text, err := base64.StdEncoding.DecodeString(h.Get(pathStatHeader))
	if err == nil {
		err = json.Unmarshal(text, &stat)
	}
	if err != nil {
		return stat, fmt.Errorf("the daemon's %s header: %w", pathStatHeader, err)
	}
	return stat, nil
}

// CopyToContainerOptions: Content is a tar that is unpacked at DestinationPath.
type CopyToContainerOptions struct {
	DestinationPath           string
	Content                   io.Reader
	AllowOverwriteDirWithFile bool
	CopyUIDGID                bool
}

// CopyToContainer unpacks a tar inside a container.
func (c *Client) CopyToContainer(ctx context.Context, name string, o CopyToContainerOptions) (struct{}, error) {
	name, err := checked("container", name)
	if err != nil {
		return struct{}{}, err
	}
	q := url.Values{"path": {o.DestinationPath}}
	if !o.AllowOverwriteDirWithFile {
		q.Set("noOverwriteDirNonDir", "true")
	}
	if o.CopyUIDGID {
		q.Set("copyUIDGID", "true")
	}
	return struct{}{}, c.send(ctx, request{method: http1.Put, path: "/containers/" + name + "/archive", query: q, body: o.Content})
}

// CopyFromContainerOptions name what is copied.
type CopyFromContainerOptions struct{ SourcePath string }

// CopyFromContainerResult is a tar, and the state of what it was made of.
type CopyFromContainerResult struct {
	Content io.ReadCloser
	Stat    container.PathStat
}

// CopyFromContainer streams a file or directory of a container as a tar.
func (c *Client) CopyFromContainer(ctx context.Context, name string, o CopyFromContainerOptions) (CopyFromContainerResult, error) {
	name, err := checked("container", name)
	if err != nil {
		return CopyFromContainerResult{}, err
	}
	resp, err := c.do(ctx, get("/containers/"+name+"/archive", url.Values{"path": {o.SourcePath}}))
	if err != nil {
		return CopyFromContainerResult{}, err
	}
	stat, err := pathStat(resp.Header)
	if err != nil {
		resp.Body.Close()
		return CopyFromContainerResult{}, err
	}
	return CopyFromContainerResult{Content: resp.Body, Stat: stat}, nil
}
