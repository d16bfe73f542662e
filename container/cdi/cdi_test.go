package cdi

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-containers/sampan/container/ocispec"
	"github.com/sampan-containers/sampan/fault"
)

const nvidia = `cdiVersion: "0.6.0"
kind: nvidia.com/gpu
containerEdits:
  env: [NVIDIA_VISIBLE_DEVICES=void]
  mounts:
  - {hostPath: /usr/lib/libcuda.so, containerPath: /usr/lib/libcuda.so, options: [ro, nosuid, bind]}
  hooks:
  - {hookName: createContainer, path: /usr/bin/nvidia-cdi-hook, args: [nvidia-cdi-hook, update-ldcache]}
devices:
- name: "0"
  containerEdits:
    deviceNodes: [{path: /dev/nvidia0, hostPath: /dev/null}]
    additionalGids: [44]
- name: "1"
  containerEdits:
    deviceNodes: [{path: /dev/nvidia1, type: c, major: 195, minor: 1, permissions: rw}]
`

const fuse = `{"cdiVersion":"0.3.0","kind":"example.org/fuse","devices":[{"name":"one","containerEdits":{"env":["FUSE=1"],"deviceNodes":[{"path":"/dev/fuse"}]}}]}`

func dirWith(t *testing.T, files map[string]string) []string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return []string{filepath.Join(dir, "absent"), dir}
}

func empty() *specs.Spec {
	return &specs.Spec{Process: &specs.Process{Env: []string{"NVIDIA_VISIBLE_DEVICES=all", "A=1"}}, Linux: &specs.Linux{Resources: &specs.LinuxResources{}}}
}

func TestApply(t *testing.T) {
	dirs := dirWith(t, map[string]string{"nvidia.yaml": nvidia, "fuse.json": fuse, "other.txt": "x"})
	gpu := [][]string{{"gpu"}}
	for _, tc := range []struct {
		name    string
		request container.DeviceRequest
		nodes   []string
		refuse  string
	}{
		{name: "by name", request: container.DeviceRequest{Driver: "cdi", DeviceIDs: []string{"nvidia.com/gpu=1"}}, nodes: []string{"/dev/nvidia1"}},
		{name: "all gpus", request: container.DeviceRequest{Count: -1, Capabilities: gpu}, nodes: []string{"/dev/nvidia0", "/dev/nvidia1"}},
		{name: "one gpu", request: container.DeviceRequest{Count: 1, Capabilities: gpu}, nodes: []string{"/dev/nvidia0"}},
		{name: "gpu by id", request: container.DeviceRequest{DeviceIDs: []string{"1"}, Driver: "nvidia", Capabilities: gpu}, nodes: []string{"/dev/nvidia1"}},
		{name: "too many", request: container.DeviceRequest{Count: 3, Capabilities: gpu}, refuse: "nvidia.com/gpu=2"},
		{name: "other vendor", request: container.DeviceRequest{Driver: "amd", Count: -1, Capabilities: gpu}, refuse: `could not select device driver "amd" with capabilities: [[gpu]]`},
		{name: "other capability", request: container.DeviceRequest{Count: -1, Capabilities: [][]string{{"tpu"}}}, refuse: "could not select device driver"},
		{name: "unknown", request: container.DeviceRequest{Driver: "cdi", DeviceIDs: []string{"nvidia.com/gpu=9"}}, refuse: "known are: example.org/fuse=one"},
		{name: "no name", request: container.DeviceRequest{Driver: "cdi", DeviceIDs: []string{"nvidia"}}, refuse: "want vendor/class=name"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := empty()
			err := Apply(s, []container.DeviceRequest{tc.request}, dirs, ocispec.LocalHost{})
			if tc.refuse != "" {
				if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), tc.refuse) {
					t.Errorf("%v, want %q", err, tc.refuse)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var nodes []string
			for _, d := range s.Linux.Devices {
				nodes = append(nodes, d.Path)
			}
			if !slices.Equal(nodes, tc.nodes) || len(s.Linux.Resources.Devices) != len(nodes) {
				t.Errorf("nodes %v with %d rules, want %v", nodes, len(s.Linux.Resources.Devices), tc.nodes)
			}
			if !slices.Equal(s.Process.Env, []string{"A=1", "NVIDIA_VISIBLE_DEVICES=void"}) || len(s.Mounts) != 1 || len(s.Hooks.CreateContainer) != 1 {
				t.Errorf("env %v, mounts %v, hooks %v", s.Process.Env, s.Mounts, s.Hooks)
			}
		})
	}
}

func TestBrokenSpecificationsAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"":                         "cdiVersion",
		"cdiVersion: 1\nkind: x":   "vendor/class",
		"cdiVersion: 1\nkind: a/b": "no devices",
		"\t":                       "",
		"cdiVersion: 1\nkind: a/b\ndevices: [{name: '../x'}]":                                                       "invalid",
		"cdiVersion: 1\nkind: a/b\ndevices: [{name: x, containerEdits: {env: [A]}}]":                                "no value",
		"cdiVersion: 1\nkind: a/b\ndevices: [{name: x, containerEdits: {deviceNodes: [{path: x}]}}]":                "absolute",
		"cdiVersion: 1\nkind: a/b\ndevices: [{name: x, containerEdits: {hooks: [{hookName: never, path: /x}]}}]":    "no hook",
		"cdiVersion: 1\nkind: a/b\ndevices: [{name: x, containerEdits: {hooks: [{hookName: prestart, path: x}]}}]":  "absolute",
		"cdiVersion: 1\nkind: a/b\ndevices: [{name: x, containerEdits: {mounts: [{containerPath: x}]}}]":            "absolute",
		"cdiVersion: 1\nkind: a/b\ndevices: [{name: x, containerEdits: {netDevices: [{hostInterfaceName: eth0}]}}]": "netDevices",
	} {
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if _, err := Load(dirWith(t, map[string]string{"bad.json": "{"})); !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "bad.json") {
		t.Errorf("a broken file: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(nvidia))
	f.Add([]byte(fuse))
	f.Fuzz(func(_ *testing.T, raw []byte) { _, _ = Parse(raw) })
}
