package compat

import (
	"maps"
	"time"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/storage"
	"github.com/sampan-containers/sampan/server"
)

type imageInspect struct {
	*image.InspectResponse
	*virtualSize
	*createdFrom
	Parent string // always empty
	// What the legacy builder and commit recorded: since 1.52 each of these is
	// omitted when it is empty.
	Comment       *string `json:",omitempty"`
	DockerVersion *string `json:",omitempty"`
	Author        *string `json:",omitempty"`

	Config      any
	GraphDriver *storage.DriverData `json:",omitempty"`
}

type virtualSize struct{ VirtualSize int64 }

// createdFrom described the container that an image was committed from.
type createdFrom struct {
	Container       string
	ContainerConfig *runConfig
}

// runConfig is an image's config as it was when it shared its type with the
// config of containers, whose other fields were always empty.
type runConfig struct {
	*containerOnly
	User         string
	ExposedPorts map[string]struct{} `json:",omitempty"`
	Env          []string
	Cmd          []string
	Healthcheck  *dockerspec.HealthcheckConfig `json:",omitempty"`
	ArgsEscaped  bool                          `json:",omitempty"`
	Volumes      map[string]struct{}
	WorkingDir   string
	Entrypoint   []string
	OnBuild      []string
	Labels       map[string]string
	StopSignal   string   `json:",omitempty"`
	Shell        []string `json:",omitempty"`
}

type containerOnly struct {
	Hostname     string
	Domainname   string
	AttachStdin  bool
	AttachStdout bool
	AttachStderr bool
	Tty          bool
	OpenStdin    bool
	StdinOnce    bool
	Image        string
}

func newRunConfig(c *dockerspec.DockerOCIImageConfig) *runConfig {
	if c == nil {
		return nil
	}
	return &runConfig{
		User: c.User, ExposedPorts: c.ExposedPorts, Env: c.Env, Cmd: c.Cmd, Healthcheck: c.Healthcheck,
		//lint:ignore SA1019 deprecated in the OCI specification, still part of the answer
		ArgsEscaped: c.ArgsEscaped,
		Volumes:     c.Volumes, WorkingDir: c.WorkingDir, Entrypoint: c.Entrypoint, OnBuild: c.OnBuild,
		Labels: c.Labels, StopSignal: c.StopSignal, Shell: c.Shell,
	}
}

var imageTable = []step[imageInspect]{
	{v1_53, func(i *imageInspect) { i.Identity = nil }},
	{v1_52, func(i *imageInspect) {
		i.DockerVersion = new(string)
		i.Comment, i.Author = &i.InspectResponse.Comment, &i.InspectResponse.Author
		i.Config = newRunConfig(i.InspectResponse.Config)
		if i.GraphDriver == nil {
			i.GraphDriver = &storage.DriverData{Name: "overlay2"}
		}
		i.GraphDriver = allDirectories(i.GraphDriver)
	}},
	{v1_50, func(i *imageInspect) {
		if c, ok := i.Config.(*runConfig); ok && c != nil {
			c.containerOnly = &containerOnly{}
		}
	}},
	{v1_48, func(i *imageInspect) { i.Descriptor, i.Manifests = nil, nil }},
	{v1_45, func(i *imageInspect) {
		i.createdFrom = &createdFrom{ContainerConfig: &runConfig{containerOnly: &containerOnly{}}}
	}},
	{v1_44, func(i *imageInspect) {
		if i.Created == "" {
			i.Created = time.Time{}.Format(time.RFC3339Nano)
		}
	}},
}

// allDirectories adds the keys that overlay2 always had: our layers are never
// mounted, and have no work directory.
func allDirectories(d *storage.DriverData) *storage.DriverData {
	all := &storage.DriverData{Name: d.Name, Data: map[string]string{"MergedDir": "", "WorkDir": ""}}
	maps.Copy(all.Data, d.Data)
	return all
}

// Image is the answer of GET /images/{name}/json. Docker dropped the parent,
// which is empty here, and the virtual size; scripts go on asking for them.
func Image(v server.Version, r *image.InspectResponse) any {
	i := &imageInspect{
		InspectResponse: clone(r), Config: r.Config, GraphDriver: r.GraphDriver,
		virtualSize: &virtualSize{r.Size},
	}
	i.RepoTags, i.RepoDigests = orEmpty(i.RepoTags), orEmpty(i.RepoDigests)
	if r.Comment != "" {
		i.Comment = &r.Comment
	}
	if r.Author != "" {
		i.Author = &r.Author
	}
	return downgrade(v, imageTable, i)
}

type imageSummary struct {
	*image.Summary
	*virtualSize
}

var imageSummaryTable = []step[imageSummary]{
	{v1_51, func(i *imageSummary) { i.Containers = -1 }},
	{v1_48, func(i *imageSummary) { i.Descriptor, i.Manifests = nil, nil }},
	{v1_44, func(i *imageSummary) { i.virtualSize = &virtualSize{i.Size} }},
	{v1_43, func(i *imageSummary) {
		if len(i.RepoTags) == 0 && len(i.RepoDigests) == 0 {
			i.RepoTags, i.RepoDigests = []string{"<none>:<none>"}, []string{"<none>@<none>"}
		}
		if len(i.RepoDigests) == 0 {
			i.RepoDigests = nil // null, not []
		}
	}},
}

// Images is the answer of GET /images/json.
func Images(v server.Version, list []image.Summary) any {
	all := make([]*imageSummary, len(list))
	for n := range list {
		i := &imageSummary{Summary: clone(&list[n])}
		i.RepoTags, i.RepoDigests = orEmpty(i.RepoTags), orEmpty(i.RepoDigests)
		all[n] = downgrade(v, imageSummaryTable, i)
	}
	return all
}
