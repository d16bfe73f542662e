package system

import (
	"fmt"
	"net/http"
	"runtime"
	"strings"

	"github.com/moby/moby/api/types/system"
	"github.com/sampan-containers/sampan/server"
)

func (r *routes) version(c *server.Call) error {
	cfg := r.config.Load()
	kernel, _ := kernelRelease()
	v := system.VersionResponse{
		Platform: system.PlatformInfo{Name: "Sampan"},
		Version:  cfg.Version, APIVersion: server.MaxVersion.String(), MinAPIVersion: server.MinVersion.String(),
		Os: runtime.GOOS, Arch: runtime.GOARCH, GitCommit: cfg.Commit, GoVersion: runtime.Version(),
		KernelVersion: kernel, Experimental: cfg.Experimental, BuildTime: cfg.BuildTime,
	}
	v.Components = []system.ComponentVersion{{
		Name: "Engine", Version: v.Version,
		Details: map[string]string{
			"ApiVersion": v.APIVersion, "MinAPIVersion": v.MinAPIVersion, "Os": v.Os, "Arch": v.Arch,
			"GitCommit": v.GitCommit, "GoVersion": v.GoVersion, "KernelVersion": v.KernelVersion,
			"Experimental": fmt.Sprint(v.Experimental), "BuildTime": v.BuildTime,
		},
	}}
	if strings.HasPrefix(c.Header.Get("User-Agent"), composeV1) {
		v.APIVersion = composeV1Speaks
	}
	return c.JSON(http.StatusOK, v)
}

// docker-compose 1 takes whatever version is the newest, and then fails on what
// newer ones leave out: ContainerConfig of images (1.45), id and status of events
// (1.52). Its last release knew this one.
const (
	composeV1       = "docker-compose/1."
	composeV1Speaks = "1.41"
)
