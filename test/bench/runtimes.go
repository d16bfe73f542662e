package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// runtimeTargets are the ratios that `sampan-runtime run` must reach: a peer's
// median over ours. The floor in C is the other way round: ours over its.
var runtimeTargets = map[string]float64{"runc": 6, "crun": 2, "floor": 3}

// bundle makes an OCI bundle with busybox and `runc spec`'s default config that
// runs /bin/true.
func bundle(dir, tar string) error {
	root := filepath.Join(dir, "rootfs")
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	if out, err := exec.Command("tar", "-C", root, "-xf", tar).CombinedOutput(); err != nil {
		return fmt.Errorf("unpack the bundle: %w: %s", err, out)
	}
	spec := exec.Command("runc", "spec")
	spec.Dir = dir
	if out, err := spec.CombinedOutput(); err != nil {
		return fmt.Errorf("runc spec: %w: %s", err, out)
	}
	file := filepath.Join(dir, "config.json")
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var config map[string]any
	if err := json.Unmarshal(raw, &config); err != nil {
		return err
	}
	process := config["process"].(map[string]any)
	process["terminal"] = false
	process["args"] = []string{"/bin/true"}
	if raw, err = json.Marshal(config); err != nil {
		return err
	}
	return os.WriteFile(file, raw, 0o600)
}

// measureRuntimes times one `run` of each runtime on the same bundle, paired
// round by round, and returns the medians.
func measureRuntimes(dir, tar string) (map[string]time.Duration, error) {
	if err := bundle(dir, tar); err != nil {
		return nil, err
	}
	state := filepath.Join(dir, "state")
	id := 0
	commands := []struct {
		name string
		argv func(id string) []string
	}{
		{"sampan", func(id string) []string {
			return []string{"bin/sampan-runtime", "--root", state + "-sampan", "run", "--bundle", dir, id}
		}},
		{"runc", func(id string) []string {
			return []string{"runc", "--root", state + "-runc", "run", "--bundle", dir, id}
		}},
		{"crun", func(id string) []string {
			return []string{"crun", "--root", state + "-crun", "run", "--bundle", dir, id}
		}},
		{"floor", func(string) []string {
			return []string{".cache/floor", filepath.Join(dir, "rootfs"), "/bin/true"}
		}},
	}
	all := map[string][]time.Duration{}
	for round := range 4*pairs + 1 {
		for _, c := range commands {
			id++
			argv := c.argv(fmt.Sprintf("bench%d", id))
			d, err := timed(func() error {
				if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
					return fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, out)
				}
				return nil
			})
			if err != nil {
				return nil, err
			}
			if round > 0 {
				all[c.name] = append(all[c.name], d)
			}
		}
	}
	medians := map[string]time.Duration{}
	for name, durations := range all {
		medians[name] = median(durations)
	}
	return medians, nil
}
