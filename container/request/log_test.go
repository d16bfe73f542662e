package request

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"

	"github.com/sampan-containers/sampan/container/record"
	"github.com/sampan-containers/sampan/fault"
)

func TestCheckLogOptions(t *testing.T) {
	for _, tc := range []struct {
		name, driver string
		options      map[string]string
		class        error
		says         string
	}{
		{"json-file", "json-file", nil, nil, ""},
		{"local", "local", map[string]string{"max-size": "1m", "max-file": "3", "compress": "true"}, nil, ""},
		{"all", "json-file", map[string]string{"labels": "a,b", "env": "X", "labels-regex": "^a", "env-regex": "^X", "tag": "{{.Name}}/{{.ID}}", "mode": "non-blocking", "max-buffer-size": "4m"}, nil, ""},
		{"none", "none", nil, nil, ""},
		{"none with an option", "none", map[string]string{"tag": "x"}, fault.Invalid, "none"},
		{"a remote one", "gelf", map[string]string{"gelf-address": "udp://x:1"}, fault.NotImplemented, "gelf is not available yet"},
		{"no driver", "nonsense", nil, fault.Invalid, "no log driver named 'nonsense'"},
		{"unknown option", "local", map[string]string{"colour": "x"}, fault.Invalid, "unknown log opt 'colour' for local"},
		{"size", "json-file", map[string]string{"max-size": "many"}, fault.Invalid, "max-size"},
		{"files", "json-file", map[string]string{"max-file": "0"}, fault.Invalid, "max-file"},
		{"compress", "json-file", map[string]string{"compress": "perhaps"}, fault.Invalid, "compress"},
		{"compress one file", "json-file", map[string]string{"compress": "true", "max-file": "1"}, fault.Invalid, "less than 2"},
		{"pattern", "json-file", map[string]string{"env-regex": "("}, fault.Invalid, "env-regex"},
		{"template", "json-file", map[string]string{"tag": "{{.Nothing}}"}, fault.Invalid, "tag"},
		{"mode", "json-file", map[string]string{"mode": "later"}, fault.Invalid, "logging mode not supported"},
		{"buffer without mode", "json-file", map[string]string{"max-buffer-size": "1m"}, fault.Invalid, "mode=non-blocking"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := CheckLogOptions(tc.driver, tc.options)
			if !errors.Is(err, tc.class) || tc.class != nil && !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%v, want %v with %q", err, tc.class, tc.says)
			}
		})
	}
}

func TestLogConfig(t *testing.T) {
	rec := &record.Record{
		ID: strings.Repeat("ab", 32), Name: "web", ImageID: "sha256:" + strings.Repeat("c", 64),
		Config: &container.Config{Image: "app:1", Env: []string{"TIER=front", "SECRET=x"}, Labels: map[string]string{"team": "a", "track": "b", "other": "c"}},
	}
	for _, tc := range []struct {
		name    string
		driver  string
		options map[string]string
		attrs   map[string]string
		packs   bool
	}{
		{"nothing", "json-file", nil, nil, false},
		{"local compresses", "local", nil, nil, true},
		{"local need not", "local", map[string]string{"compress": "false"}, nil, false},
		{"local with one file", "local", map[string]string{"max-file": "1"}, nil, false},
		{"json-file may", "json-file", map[string]string{"compress": "true"}, nil, true},
		{"labels and env", "json-file", map[string]string{"labels": "team,missing", "env": "TIER"}, map[string]string{"team": "a", "TIER": "front"}, false},
		{"patterns", "json-file", map[string]string{"labels-regex": "^t", "env-regex": "^T"}, map[string]string{"team": "a", "track": "b", "TIER": "front"}, false},
		{"tag", "json-file", map[string]string{"tag": "{{.ImageName}}/{{.Name}}/{{.ID}}"}, map[string]string{"tag": "app:1/web/abababababab"}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rec.HostConfig = &container.HostConfig{LogConfig: container.LogConfig{Type: tc.driver, Config: tc.options}}
			got, err := LogConfig(rec, "/log")
			if err != nil || !maps.Equal(got.Attrs, tc.attrs) || got.Compress != tc.packs {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
	rec.Config.Labels["team"] = strings.Repeat("x", maxLogAttrs)
	rec.HostConfig.LogConfig.Config = map[string]string{"labels": "team"}
	if _, err := LogConfig(rec, "/log"); !errors.Is(err, fault.Invalid) {
		t.Errorf("attributes without a bound: %v", err)
	}
}

// A container's options come on top of the daemon's, for the daemon's driver alone.
func TestLogOptionsJoinTheDaemons(t *testing.T) {
	d := Defaults{LogDriver: LogJSON, LogOptions: map[string]string{"max-size": "1k", "max-file": "3"}}
	for _, tc := range []struct {
		name string
		in   container.LogConfig
		want map[string]string
	}{
		{"nothing said", container.LogConfig{}, d.LogOptions},
		{"one option", container.LogConfig{Config: map[string]string{"max-file": "5"}}, map[string]string{"max-size": "1k", "max-file": "5"}},
		{"the same driver", container.LogConfig{Type: LogJSON, Config: map[string]string{"tag": "x"}}, map[string]string{"max-size": "1k", "max-file": "3", "tag": "x"}},
		{"another driver", container.LogConfig{Type: LogNone}, map[string]string{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			hc := &container.HostConfig{LogConfig: tc.in}
			d.Normalize(hc)
			if !maps.Equal(hc.LogConfig.Config, tc.want) {
				t.Errorf("got %v, want %v", hc.LogConfig.Config, tc.want)
			}
		})
	}
	if len(d.LogOptions) != 2 {
		t.Errorf("the daemon's own are %v now", d.LogOptions)
	}
}
