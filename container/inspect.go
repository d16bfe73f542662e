package container

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/storage"
)

// driverName is what Docker calls the storage driver.
const driverName = "overlay2"

// Inspect describes a container in full. It takes no container's lock.
func (s *Service) Inspect(ctx context.Context, ref string, size bool) (*container.InspectResponse, error) {
	e, err := s.find(ref)
	if err != nil {
		return nil, err
	}
	r := e.record()
	files := s.dataDir(s.networkOwner(r))
	out := &container.InspectResponse{
		ID:             r.ID,
		Created:        r.Created.Format(time.RFC3339Nano),
		Path:           r.Path,
		Args:           r.Args,
		State:          inspectState(&r.State),
		Image:          r.ImageID,
		ResolvConfPath: filepath.Join(files, "resolv.conf"),
		HostnamePath:   filepath.Join(files, "hostname"),
		HostsPath:      filepath.Join(files, "hosts"),
		Name:           "/" + r.Name,
		RestartCount:   r.State.RestartCount,
		Driver:         driverName,
		Platform:       r.Platform,
		ExecIDs:        e.execIDs(),
		HostConfig:     r.HostConfig,
		GraphDriver:    graphDriver(r),
		Mounts:         mountPoints(r),
		Config:         r.Config,
		NetworkSettings: &container.NetworkSettings{
			Ports:    portMap(r),
			Networks: networks(r),
		},
	}
	if r.HostConfig.LogConfig.Type != "none" {
		out.LogPath = s.logPath(r.ID)
	}
	if r.State.Running() {
		out.NetworkSettings.SandboxID = r.ID
		out.NetworkSettings.SandboxKey = fmt.Sprintf("/proc/%d/ns/net", r.State.Pid)
	}
	if size {
		rw, err := s.Snapshots.Usage(ctx, r.ID)
		if err != nil {
			return nil, err
		}
		all := r.BaseSize + rw
		out.SizeRw, out.SizeRootFs = &rw, &all
	}
	return out, nil
}

func inspectState(st *State) *container.State {
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
	}
}

// graphDriver names the directories of the root. There is no merged directory
// on the host; while the container runs, its root is reached through its process.
func graphDriver(r *Record) *storage.DriverData {
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
