package show

import (
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	mobynet "github.com/moby/moby/api/types/network"
	"github.com/opencontainers/go-digest"

	"github.com/sampan-containers/sampan/container/mounts"
	"github.com/sampan-containers/sampan/container/record"
	"github.com/sampan-containers/sampan/event/filter"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/network"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func web() *record.Record {
	return &record.Record{
		ID: strings.Repeat("ab", 32), Name: "web", Created: noon.Add(-time.Hour), ImageID: "sha256:1", Path: "sh", Args: []string{"-c", "sleep 1"},
		Config:     &container.Config{Image: "img", Labels: map[string]string{"tier": "front"}, ExposedPorts: mobynet.PortSet{mobynet.MustParsePort("80/tcp"): {}, mobynet.MustParsePort("81/udp"): {}}},
		HostConfig: &container.HostConfig{NetworkMode: "bridge", PortBindings: mobynet.PortMap{mobynet.MustParsePort("80/tcp"): {{HostPort: "8080"}}}},
		Endpoints:  map[string]*mobynet.EndpointSettings{"bridge": {}},
		Mounts: []mounts.Mount{
			{Type: mount.TypeVolume, Name: "data", Source: "/v/data/_data", Destination: "/data"},
			{Type: mount.TypeBind, Source: "/srv", Destination: "/srv", ReadOnly: true, FromMounts: true},
			{Type: mount.TypeTmpfs, Destination: "/t"},
		},
		State: record.State{Status: container.StateRunning, Pid: 7, StartedAt: noon.Add(-5 * time.Minute),
			Net: &network.Joined{Endpoints: []network.Endpoint{{Network: "bridge", NetworkID: "n1", IP: netip.MustParsePrefix("10.0.0.2/24"), Gateway: netip.MustParseAddr("10.0.0.1")}},
				Ports: []network.BoundPort{{Proto: "tcp", HostIP: netip.IPv4Unspecified(), HostPort: 8080, ContainerPort: 80}}}},
	}
}

func TestSummary(t *testing.T) {
	s := Summary(web(), "img", noon, false)
	if s.Command != "sh -c 'sleep 1'" || s.Status != "Up 5 minutes" || s.Names[0] != "/web" || len(s.Mounts) != 2 {
		t.Errorf("got %+v", s)
	}
	if len(s.Ports) != 2 || s.Ports[0].PublicPort != 8080 || s.Ports[1].PrivatePort != 81 || s.Ports[1].PublicPort != 0 {
		t.Errorf("ports %+v", s.Ports)
	}
	if es := s.NetworkSettings.Networks["bridge"]; es.IPAddress.String() != "10.0.0.2" || es.IPPrefixLen != 24 {
		t.Errorf("network %+v", es)
	}
	if raw, err := json.Marshal(s); err != nil || !strings.Contains(string(raw), `"Labels":{"tier":"front"}`) {
		t.Errorf("%s, %v", raw, err)
	}
}

func TestStatusTexts(t *testing.T) {
	at := noon.Add(-3 * time.Hour)
	for want, st := range map[string]record.State{
		"Created":                      {Status: container.StateCreated},
		"Up 3 hours":                   {Status: container.StateRunning, StartedAt: at},
		"Up 3 hours (Paused)":          {Status: container.StatePaused, StartedAt: at},
		"Exited (137) 3 hours ago":     {Status: container.StateExited, ExitCode: 137, FinishedAt: at},
		"Restarting (1) 3 hours ago":   {Status: container.StateRestarting, ExitCode: 1, FinishedAt: at},
		"Removal In Progress":          {Status: container.StateRemoving},
		"Dead":                         {Status: container.StateDead},
		"Exited (0) About an hour ago": {Status: container.StateExited, FinishedAt: noon.Add(-time.Hour)},
	} {
		if got := statusText(&st, noon); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestInspect(t *testing.T) {
	got := Inspect(web(), Paths{Files: "/c", Log: "/c/log"}, nil)
	if got.Name != "/web" || !got.State.Running || got.State.Pid != 7 || got.HostsPath != "/c/hosts" || got.GraphDriver.Name != "overlay2" {
		t.Errorf("got %+v", got)
	}
	if p := got.NetworkSettings.Ports[mobynet.MustParsePort("80/tcp")]; len(p) != 1 || p[0].HostPort != "8080" {
		t.Errorf("ports %+v", got.NetworkSettings.Ports)
	}
	if p, ok := got.NetworkSettings.Ports[mobynet.MustParsePort("81/udp")]; !ok || p != nil {
		t.Error("an exposed port that is not published must map to null")
	}
	ended := web()
	ended.State = record.State{Status: container.StateExited, ExitCode: 3}
	if got := Inspect(ended, Paths{}, nil); got.State.Running || len(got.NetworkSettings.Ports) != 0 || got.State.StartedAt != "0001-01-01T00:00:00Z" {
		t.Errorf("got %+v", got)
	}
}

func TestFilters(t *testing.T) {
	created := func(ref string) (time.Time, error) {
		if ref == "old" {
			return noon.Add(-2 * time.Hour), nil
		}
		return time.Time{}, fault.New(fault.NotFound, "No such container: %s", ref)
	}
	family := func(ref string) ([]digest.Digest, error) {
		return map[string][]digest.Digest{"img": {"sha256:1"}, "base": {"sha256:0", "sha256:1"}}[ref], nil
	}
	exited := web()
	exited.State = record.State{Status: container.StateExited, ExitCode: 3}
	for _, tt := range []struct {
		term, value string
		r           *record.Record
		want        bool
	}{
		{"id", "abab", web(), true}, {"id", "cd", web(), false},
		{"name", "we", web(), true}, {"name", "^/web$", web(), true}, {"name", "^web$", web(), true}, {"name", "db", web(), false},
		{"label", "tier", web(), true}, {"label", "tier=front", web(), true}, {"label", "tier=back", web(), false},
		{"status", "running", web(), true}, {"status", "exited", web(), false},
		{"exited", "3", exited, true}, {"exited", "0", exited, false}, {"exited", "0", web(), false},
		{"ancestor", "img", web(), true}, {"ancestor", "base", web(), true}, {"ancestor", "other", web(), false},
		{"since", "old", web(), true}, {"before", "old", web(), false},
		{"network", "bridge", web(), true}, {"network", "n1", web(), true}, {"network", "mine", web(), false},
		{"volume", "data", web(), true}, {"volume", "/data", web(), true}, {"volume", "/srv/", web(), true}, {"volume", "x", web(), false},
		{"publish", "8080", web(), true}, {"publish", "8000-9000/tcp", web(), true}, {"publish", "8080/udp", web(), false},
		{"expose", "81/udp", web(), true}, {"expose", "79-80", web(), true}, {"expose", "81", web(), false},
		{"health", "none", web(), true}, {"health", "healthy", web(), false},
		{"is-task", "false", web(), true}, {"is-task", "true", web(), false},
	} {
		f, err := Compile(filter.Args{tt.term: {tt.value}}, created, family)
		if err != nil {
			t.Errorf("%s=%s: %v", tt.term, tt.value, err)
			continue
		}
		if got := f.Match(tt.r); got != tt.want {
			t.Errorf("%s=%s: %v", tt.term, tt.value, got)
		}
	}
	for term, value := range map[string]string{"colour": "red", "status": "happy", "exited": "x", "before": "nobody", "publish": "70000", "is-task": "maybe", "health": "fit"} {
		if _, err := Compile(filter.Args{term: {value}}, created, family); err == nil || !errors.Is(err, fault.Invalid) && !errors.Is(err, fault.NotFound) {
			t.Errorf("%s=%s: %v", term, value, err)
		}
	}
}

var _ = mounts.Mount{} // record.Mount is this type
