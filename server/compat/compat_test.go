package compat

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/system"
	"github.com/sampan-containers/sampan/server"
)

// The files in testdata are answers of Docker 20.10.24 (API 1.41), captured from
// a real daemon; only host paths and the kernel's version were replaced. Each
// is decoded into today's types, which lose what the newest version dropped,
// and must come out of the downgrade as it was.
func TestAnswersOfDocker2010(t *testing.T) {
	v124, v141 := server.V(1, 24), server.V(1, 41)
	cases := []struct {
		file string
		via  func(t *testing.T, v server.Version, raw []byte) any
		skip []string // paths whose value today's types cannot carry, with the reason
	}{
		{"container-web", viaContainer, nil},
		{"container-tty", viaContainer, nil},
		{"container-hostnet", viaContainer, nil},
		{"container-created", viaContainer, nil},
		{"container-mac", viaContainer, nil},
		{"containers", viaContainers, nil},
		{"containers-size", viaContainers, nil},
		// The version of the builder is no longer recorded.
		{"image", viaImage, []string{".DockerVersion"}},
		{"images", viaImages, nil},
		{"history", viaHistory, nil},
		{"networks", viaNetworks, nil},
		{"network-bridge", viaNetwork, nil},
		{"info", viaInfo, nil},
		{"version", viaVersion, nil},
	}
	for _, tc := range cases {
		for _, v := range []server.Version{v124, v141} {
			t.Run(fmt.Sprintf("%s-%s", tc.file, v), func(t *testing.T) {
				raw, err := os.ReadFile(filepath.Join("testdata", fmt.Sprintf("%s-%s.json", tc.file, v)))
				if err != nil {
					t.Fatal(err)
				}
				out, err := json.Marshal(tc.via(t, v, raw))
				if err != nil {
					t.Fatal(err)
				}
				diff(t, decode(t, raw), decode(t, out), "", tc.skip)
			})
		}
	}
}

func decode(t *testing.T, raw []byte) (v any) {
	t.Helper()
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatalf("%v in %.200s", err, raw)
	}
	return v
}

func into[T any](t *testing.T, raw []byte) *T {
	t.Helper()
	v := new(T)
	if err := json.Unmarshal(raw, v); err != nil {
		t.Fatal(err)
	}
	return v
}

func viaContainer(t *testing.T, v server.Version, raw []byte) any {
	return Container(v, into[container.InspectResponse](t, raw))
}
func viaContainers(t *testing.T, v server.Version, raw []byte) any {
	return Containers(v, *into[[]container.Summary](t, raw))
}
func viaImage(t *testing.T, v server.Version, raw []byte) any {
	return Image(v, into[image.InspectResponse](t, raw))
}
func viaImages(t *testing.T, v server.Version, raw []byte) any {
	return Images(v, *into[[]image.Summary](t, raw))
}
func viaHistory(t *testing.T, v server.Version, raw []byte) any {
	return into[[]image.HistoryResponseItem](t, raw)
}
func viaNetworks(t *testing.T, v server.Version, raw []byte) any {
	return Networks(v, *into[[]network.Inspect](t, raw))
}
func viaNetwork(t *testing.T, v server.Version, raw []byte) any {
	return Network(v, into[network.Inspect](t, raw))
}
func viaVersion(t *testing.T, v server.Version, raw []byte) any {
	return into[system.VersionResponse](t, raw)
}
func viaInfo(t *testing.T, v server.Version, raw []byte) any {
	info := into[system.Info](t, raw)
	if v < v1_25 { // the server always has the newest form
		info.SecurityOptions = []string{"name=seccomp,profile=default"}
	}
	return Info(v, info, LegacyInfo{KernelMemory: true, KernelMemoryTCP: true, BridgeNfIptables: true, BridgeNfIp6tables: true})
}

// diff reports where got lacks a key of want, has one more, or another value.
func diff(t *testing.T, want, got any, path string, skip []string) {
	t.Helper()
	if slices.Contains(skip, path) {
		return
	}
	switch want := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			t.Errorf("%s: want an object, got %v", path, got)
			return
		}
		for k, w := range want {
			if _, ok := g[k]; !ok {
				if !slices.Contains(skip, path+"."+k) {
					t.Errorf("%s.%s is missing", path, k)
				}
				continue
			}
			diff(t, w, g[k], path+"."+k, skip)
		}
		for k := range g {
			if _, ok := want[k]; !ok {
				t.Errorf("%s.%s is one too many (%v)", path, k, g[k])
			}
		}
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(want) {
			t.Errorf("%s: want %v, got %v", path, want, got)
			return
		}
		for i := range want {
			diff(t, want[i], g[i], path+"[]", skip)
		}
	default:
		if !reflect.DeepEqual(want, got) {
			t.Errorf("%s: want %v, got %v", path, want, got)
		}
	}
}

func TestEventsOfDocker2010(t *testing.T) {
	raw, err := os.ReadFile("testdata/events-1.41.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range bytes.Split(bytes.TrimSpace(raw), []byte("\n")) {
		out, err := json.Marshal(Event(server.V(1, 41), into[events.Message](t, line)))
		if err != nil {
			t.Fatal(err)
		}
		diff(t, decode(t, line), decode(t, out), "", nil)
	}
}

func TestImageCreateEventIsNewerThan145(t *testing.T) {
	m := &events.Message{Type: events.ImageEventType, Action: events.ActionCreate}
	if Event(server.V(1, 45), m) != nil {
		t.Error("a 1.45 client must not see image create events")
	}
	if Event(server.V(1, 46), m) == nil {
		t.Error("a 1.46 client must see image create events")
	}
}

// TestFieldsByVersion fixes when a field comes and goes.
func TestFieldsByVersion(t *testing.T) {
	umask := uint32(18)
	ctr := &container.InspectResponse{
		ID: "0123456789abcdef", Driver: "overlay2",
		HostConfig: &container.HostConfig{Umask: &umask, Annotations: map[string]string{"a": "b"}},
		Config:     &container.Config{Hostname: "h"},
		NetworkSettings: &container.NetworkSettings{Networks: map[string]*network.EndpointSettings{
			"bridge": {DNSNames: []string{"h"}}, "mine": {Aliases: []string{"web"}},
		}},
	}
	img := &image.InspectResponse{Comment: "c"}
	nets := []network.Inspect{{Network: network.Network{Name: "n"}, Containers: map[string]network.EndpointResource{"x": {}}}}
	imgs := []image.Summary{{Containers: 3, Size: 7}}
	info := &system.Info{FirewallBackend: &system.FirewallInfo{}, CDISpecDirs: []string{}}
	evt := &events.Message{Type: events.ContainerEventType, Action: events.ActionStart}
	cases := []struct {
		name   string
		path   string
		answer func(server.Version) any
		first  server.Version // the field exists from here …
		gone   server.Version // … and below here
	}{
		{"umask", "HostConfig.Umask", func(v server.Version) any { return Container(v, ctr) }, v1_56, server.MaxVersion + 1},
		{"annotations", "HostConfig.Annotations", func(v server.Version) any { return Container(v, ctr) }, v1_43, server.MaxVersion + 1},
		{"kernel memory", "HostConfig.KernelMemory", func(v server.Version) any { return Container(v, ctr) }, 0, v1_42},
		{"kernel memory tcp", "HostConfig.KernelMemoryTCP", func(v server.Version) any { return Container(v, ctr) }, 0, v1_52},
		{"flat address", "NetworkSettings.IPAddress", func(v server.Version) any { return Container(v, ctr) }, 0, server.MaxVersion + 1},
		{"networks beside it", "NetworkSettings.Networks.mine", func(v server.Version) any { return Container(v, ctr) }, 0, server.MaxVersion + 1},
		{"on build", "Config.OnBuild", func(v server.Version) any { return Container(v, ctr) }, 0, v1_52},
		{"dns names", "NetworkSettings.Networks.bridge.DNSNames", func(v server.Version) any { return Container(v, ctr) }, v1_44, server.MaxVersion + 1},
		{"gateway priority", "NetworkSettings.Networks.bridge.GwPriority", func(v server.Version) any { return Container(v, ctr) }, v1_48, server.MaxVersion + 1},
		{"image comment", "Comment", func(v server.Version) any { return Image(v, img) }, 0, server.MaxVersion + 1},
		{"image author", "Author", func(v server.Version) any { return Image(v, img) }, 0, v1_52},
		{"image parent", "Parent", func(v server.Version) any { return Image(v, img) }, 0, server.MaxVersion + 1},
		{"virtual size", "VirtualSize", func(v server.Version) any { return Image(v, img) }, 0, server.MaxVersion + 1},
		{"container config", "ContainerConfig", func(v server.Version) any { return Image(v, img) }, 0, v1_45},
		{"list virtual size", "0.VirtualSize", func(v server.Version) any { return Images(v, imgs) }, 0, v1_44},
		{"network list containers", "0.Containers.x", func(v server.Version) any { return Networks(v, nets) }, 0, v1_28},
		{"network list empty containers", "0.Containers", func(v server.Version) any { return Networks(v, nets) }, 0, v1_52},
		{"network ipv4", "0.EnableIPv4", func(v server.Version) any { return Networks(v, nets) }, v1_48, server.MaxVersion + 1},
		{"status of an event", "status", func(v server.Version) any { return Event(v, evt) }, 0, server.MaxVersion + 1},
		{"info firewall", "FirewallBackend", func(v server.Version) any { return Info(v, info, LegacyInfo{}) }, v1_49, server.MaxVersion + 1},
		{"info cdi", "CDISpecDirs", func(v server.Version) any { return Info(v, info, LegacyInfo{}) }, v1_44, server.MaxVersion + 1},
		{"info expected commit", "RuncCommit.Expected", func(v server.Version) any { return Info(v, info, LegacyInfo{}) }, 0, v1_49},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			for v := server.MinVersion; v <= server.MaxVersion; v++ {
				raw, err := json.Marshal(tc.answer(v))
				if err != nil {
					t.Fatal(err)
				}
				want := v >= tc.first && v < tc.gone
				if got := has(decode(t, raw), tc.path); got != want {
					t.Errorf("at %s: field present = %v, want %v", v, got, want)
				}
			}
		})
	}
	if ctr.HostConfig.Umask == nil || ctr.HostConfig.Annotations == nil || len(ctr.NetworkSettings.Networks["mine"].Aliases) != 1 || imgs[0].Containers != 3 {
		t.Error("a downgrade changed its argument")
	}
}

func has(v any, path string) bool {
	for _, key := range strings.Split(path, ".") {
		switch x := v.(type) {
		case map[string]any:
			next, ok := x[key]
			if !ok {
				return false
			}
			v = next
		case []any:
			v = x[0]
		default:
			return false
		}
	}
	return true
}

// Clients below 1.44 get the "default" that was sent, later ones its meaning.
func TestDefaultNetworkBelow144(t *testing.T) {
	ctr := &container.InspectResponse{HostConfig: &container.HostConfig{NetworkMode: "default"}}
	list := []container.Summary{{}}
	list[0].HostConfig.NetworkMode = "default"
	for v, want := range map[server.Version]string{server.V(1, 43): "default", server.V(1, 44): "bridge"} {
		if got := Container(v, ctr).(*containerInspect).HostConfig.NetworkMode; string(got) != want {
			t.Errorf("inspect at %s: %s", v, got)
		}
		if got := Containers(v, list).([]*containerSummary)[0].HostConfig.NetworkMode; got != want {
			t.Errorf("list at %s: %s", v, got)
		}
	}
	if ctr.HostConfig.NetworkMode != "default" || list[0].HostConfig.NetworkMode != "default" {
		t.Error("a downgrade changed its argument")
	}
}

func TestShortIDAliases(t *testing.T) {
	ctr := &container.InspectResponse{ID: "0123456789abcdef", Config: &container.Config{Hostname: "h"},
		NetworkSettings: &container.NetworkSettings{Networks: map[string]*network.EndpointSettings{"mine": {Aliases: []string{"web", "h"}}}}}
	c := Container(server.V(1, 44), ctr).(*containerInspect)
	if got := c.NetworkSettings.Networks["mine"].Aliases; !slices.Equal(got, []string{"web", "h", "0123456789ab"}) {
		t.Errorf("aliases at 1.44: %v", got)
	}
	if got := ctr.NetworkSettings.Networks["mine"].Aliases; len(got) != 2 {
		t.Errorf("the argument's aliases changed: %v", got)
	}
}

func TestUntaggedImagesBelow143(t *testing.T) {
	for v, want := range map[server.Version]string{server.V(1, 42): `"RepoTags":["\u003cnone\u003e:\u003cnone\u003e"]`, server.V(1, 43): `"RepoTags":[]`} {
		raw, _ := json.Marshal(Images(v, []image.Summary{{}}))
		if !bytes.Contains(raw, []byte(want)) {
			t.Errorf("%s: %s lacks %s", v, raw, want)
		}
	}
}
