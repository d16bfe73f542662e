package notice

import (
	"maps"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/mount"

	"github.com/sampan-containers/sampan/container/mounts"
	"github.com/sampan-containers/sampan/container/record"
)

func TestAttributes(t *testing.T) {
	r := &record.Record{ID: "c1", Name: "web", Config: &container.Config{Image: "img", Labels: map[string]string{"tier": "front"}},
		HostConfig: &container.HostConfig{NetworkMode: "none"},
		Mounts:     []mounts.Mount{{Type: mount.TypeVolume, Name: "v", Destination: "/v", ReadOnly: true}, {Type: mount.TypeBind, Source: "/s"}}}
	r.State.NetworkID = "n1"
	network, ok := Network(r, events.ActionConnect)
	if !ok || len(Mounts(r)) != 1 || len(Unmounts(r)) != 1 {
		t.Fatalf("network %v, mounts %v, unmounts %v", ok, Mounts(r), Unmounts(r))
	}
	for _, tc := range []struct {
		got  events.Message
		id   string
		want map[string]string
	}{
		{Container(r, events.ActionKill, map[string]string{"signal": "9"}), "c1", map[string]string{"tier": "front", "image": "img", "name": "web", "signal": "9"}},
		{network, "n1", map[string]string{"container": "c1", "name": "none", "type": "null"}},
		{Volume("v", events.ActionCreate), "v", map[string]string{"driver": "local"}},
		{Mounts(r)[0], "v", map[string]string{"driver": "local", "container": "c1", "destination": "/v", "propagation": "", "read/write": "false"}},
		{Unmounts(r)[0], "v", map[string]string{"driver": "local", "container": "c1"}},
	} {
		if tc.got.Actor.ID != tc.id || !maps.Equal(tc.got.Actor.Attributes, tc.want) {
			t.Errorf("%s %s of %s: %v, want %v", tc.got.Type, tc.got.Action, tc.got.Actor.ID, tc.got.Actor.Attributes, tc.want)
		}
	}
	r.HostConfig.NetworkMode = "container:x"
	if _, ok := Network(r, events.ActionConnect); ok {
		t.Error("the network of another container is not joined")
	}
}
