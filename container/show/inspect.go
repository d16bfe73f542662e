package show

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	mobynet "github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/storage"

	"github.com/sampan-containers/sampan/container/record"
)

// driverName is what Docker calls the storage driver.
const driverName = "overlay2"

// Paths are a container's files on the host.
type Paths struct {
	Files string // the directory of hosts, hostname and resolv.conf
	Log   string
}

// Inspect is the full description of a container.
func Inspect(r *record.Record, p Paths, execs []string) *container.InspectResponse {
	out := &container.InspectResponse{
		ID:           r.ID,
		Created:      r.Created.Format(time.RFC3339Nano),
		Path:         r.Path,
		Args:         r.Args,
		State:        inspectState(&r.State),
		Image:        r.ImageID,
		Name:         "/" + r.Name,
		RestartCount: r.State.RestartCount,
		Driver:       graphDriver(r).Name,
		Platform:     r.Platform,
		ExecIDs:      execs,
		HostConfig:   hostConfig(r),
		GraphDriver:  graphDriver(r),
		Mounts:       mountPoints(r),
		Config:       r.Config,
		NetworkSettings: &container.NetworkSettings{
			Ports:    portMap(r),
			Networks: networks(r),
		},
	}
	if r.State.Status == container.StateCreated && r.State.Error == "" {
		return out // the first start makes the rest
	}
	out.ResolvConfPath = filepath.Join(p.Files, "resolv.conf")
	out.HostnamePath = filepath.Join(p.Files, "hostname")
	out.HostsPath = filepath.Join(p.Files, "hosts")
	if r.HostConfig.LogConfig.Type != "none" {
		out.LogPath = p.Log
	}
	if !r.HostConfig.NetworkMode.IsContainer() { // else the sandbox is the other's
		out.NetworkSettings.SandboxID = r.ID
		if r.State.Running() {
			out.NetworkSettings.SandboxKey = fmt.Sprintf("/proc/%d/ns/net", r.State.Pid)
		}
	}
	return out
}

// hostConfig is the container's, with the network "default" if none was asked
// for; server/compat says "bridge" to clients that want to hear that. No limit of
// processes, which is recorded as -1 apart from none asked for, is null in the API.
func hostConfig(r *record.Record) *container.HostConfig {
	boundless := r.HostConfig.PidsLimit != nil && *r.HostConfig.PidsLimit < 0
	if !r.DefaultNetwork && !boundless {
		return r.HostConfig
	}
	hc := *r.HostConfig
	if r.DefaultNetwork {
		hc.NetworkMode = mobynet.NetworkDefault
	}
	if boundless {
		hc.PidsLimit = nil
	}
	return &hc
}

func inspectState(st *record.State) *container.State {
	return &container.State{
		Status:     st.Status,
		Running:    st.Running() || st.Status == container.StateRestarting,
		Paused:     st.Status == container.StatePaused,
		Restarting: st.Status == container.StateRestarting,
		OOMKilled:  st.OOMKilled,
		Dead:       st.Status == container.StateDead,
		Pid:        st.Pid,
		ExitCode:   st.ExitCode,
		Error:      st.Error,
		StartedAt:  st.StartedAt.Format(time.RFC3339Nano),
		FinishedAt: st.FinishedAt.Format(time.RFC3339Nano),
		Health:     st.Health,
	}
}

// graphDriver names the directories of the root. There is no merged directory
// on the host; while the container runs, its root is reached through its process.
func graphDriver(r *record.Record) *storage.DriverData {
	if r.Root.Plain() {
		return &storage.DriverData{Name: r.Root.Driver}
	}
	merged := ""
	if r.State.Pid != 0 {
		merged = fmt.Sprintf("/proc/%d/root", r.State.Pid)
	}
	return &storage.DriverData{Name: driverName, Data: map[string]string{
		"LowerDir":  strings.Join(r.Root.Lower, ":"),
		"MergedDir": merged,
		"UpperDir":  r.Root.Upper,
		"WorkDir":   r.Root.Work,
	}}
}
