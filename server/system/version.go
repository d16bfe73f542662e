package system

import (
	"fmt"
	"net/http"
	"runtime"

	"github.com/moby/moby/api/types/system"
	"github.com/sampan-containers/sampan/server"
)

func (r *routes) version(c *server.Call) error {
	kernel, _ := kernelRelease()
	v := system.VersionResponse{
		Platform: system.PlatformInfo{Name: "Sampan"},
		Version:  r.cfg.Version, APIVersion: server.MaxVersion.String(), MinAPIVersion: server.MinVersion.String(),
		Os: runtime.GOOS, Arch: runtime.GOARCH, GitCommit: r.cfg.Commit, GoVersion: runtime.Version(),
		KernelVersion: kernel, Experimental: r.cfg.Experimental, BuildTime: r.cfg.BuildTime,
	}
	v.Components = []system.ComponentVersion{{
		Name: "Engine", Version: v.Version,
		Details: map[string]string{
			"ApiVersion": v.APIVersion, "MinAPIVersion": v.MinAPIVersion, "Os": v.Os, "Arch": v.Arch,
			"GitCommit": v.GitCommit, "GoVersion": v.GoVersion, "KernelVersion": v.KernelVersion,
			"Experimental": fmt.Sprint(v.Experimental), "BuildTime": v.BuildTime,
		},
	}}
	return c.JSON(http.StatusOK, v)
}
