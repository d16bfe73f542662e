package client

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"testing"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
)

// What a daemon reads must not depend on how it was written.
func TestCompactSaysTheSame(t *testing.T) {
	yes, swappiness := true, int64(0)
	for name, want := range map[string]container.CreateRequest{
		"nothing": {},
		"empty":   {Config: &container.Config{Image: "x"}, HostConfig: &container.HostConfig{}},
		"much": {
			Config: &container.Config{Image: "x", Cmd: []string{"sh", "-c", `echo "<&>"`}, Env: []string{"A=ü"}, Labels: map[string]string{"a": "b"},
				ExposedPorts: network.PortSet{network.MustParsePort("80/tcp"): {}}, Healthcheck: &container.HealthConfig{Test: []string{"NONE"}, Interval: 5}},
			HostConfig: &container.HostConfig{
				AutoRemove: true, Init: &yes, NetworkMode: "none", ConsoleSize: [2]uint{3, 4}, RestartPolicy: container.RestartPolicy{Name: "always"},
				Resources:    container.Resources{Memory: 1 << 20, MemorySwappiness: &swappiness, Ulimits: []*units.Ulimit{{Name: "nofile", Hard: 2, Soft: 1}}},
				Mounts:       []mount.Mount{{Type: mount.TypeTmpfs, Target: "/x", TmpfsOptions: &mount.TmpfsOptions{SizeBytes: 5}}},
				PortBindings: network.PortMap{network.MustParsePort("80/tcp"): {{HostIP: netip.MustParseAddr("::1"), HostPort: "8080"}}},
				LogConfig:    container.LogConfig{Type: "local", Config: map[string]string{"max-size": "1m"}},
			},
			NetworkingConfig: &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{"n": {Aliases: []string{"a"}}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			text, err := json.Marshal(Compact{want})
			if err != nil {
				t.Fatal(err)
			}
			plain, err := json.Marshal(want)
			if err != nil {
				t.Fatal(err)
			}
			var got, same container.CreateRequest
			if err := json.Unmarshal(text, &got); err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			if err := json.Unmarshal(plain, &same); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, same) {
				t.Errorf("read\n%+v %+v\nwant\n%+v %+v", got.Config, got.HostConfig, same.Config, same.HostConfig)
			}
			if len(text) >= len(plain) && name != "nothing" {
				t.Errorf("%d bytes, %d in full", len(text), len(plain))
			}
		})
	}
}
