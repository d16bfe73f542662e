package scenario

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sampan-containers/sampan/test/lab"
)

// reload has the daemon read its configuration again, and waits until it says what
// became of that.
func reload(t *testing.T, d *lab.Daemon, says string) {
	t.Helper()
	before := strings.Count(d.Log(), says)
	if err := syscall.Kill(d.Pid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	lab.Eventually(t, 10*time.Second, "the daemon says "+says, func() bool { return strings.Count(d.Log(), says) > before })
}

const (
	reloaded    = "the configuration is reloaded"
	notReloaded = "the configuration is not reloaded"
)

// TestReload: SIGHUP changes what dockerd changes, tells it by an event, and with a file
// that is wrong changes nothing; containers go on.
func TestReload(t *testing.T) {
	file := filepath.Join(t.TempDir(), "daemon.json")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"labels": ["rack=1"], "insecure-registries": ["one.example"]}`)
	d := start(t, "--config-file", file)
	d.Sampan("run", "-d", "--name", "stays", "--network", "none", busybox, "sleep", "1000").Must(t)
	pid := d.Sampan("inspect", "-f", "{{.State.Pid}}", "stays").Must(t)
	info := func(format string) string {
		t.Helper()
		return d.Docker("info", "-f", format).Must(t)
	}
	const all = "{{.Labels}} {{.Debug}} {{.LiveRestoreEnabled}} {{.DefaultRuntime}} {{.RegistryConfig.Mirrors}} {{index .RegistryConfig.IndexConfigs \"two.example\"}}"
	first := info(all)
	if !strings.HasPrefix(first, "[rack=1] false true sampan []") {
		t.Fatalf("before the reload: %s", first)
	}

	for name, text := range map[string]string{
		"no JSON": `{"labels": `, "an unknown key": `{"no-such-key": 1, "debug": true}`, "a bad value": `{"debug": true, "max-concurrent-downloads": 0}`,
		"a runtime that is not there": `{"debug": true, "default-runtime": "nosuch"}`, "a key of the command line": `{"debug": true, "config-file": "x"}`,
	} {
		write(text)
		reload(t, d, notReloaded)
		if now := info(all); now != first {
			t.Errorf("%s: %s became %s", name, first, now)
		}
	}
	// events are those of the daemon itself; the end is a moment in whole seconds, and waited for.
	events := func() string {
		t.Helper()
		return d.Docker("events", "--since", "0", "--until", fmt.Sprint(time.Now().Unix()+1), "--filter", "type=daemon", "--format", "{{json .}}").Must(t)
	}
	if strings.Contains(events(), "reload") {
		t.Error("a reload that was refused is an event")
	}

	write(`{"labels": ["rack=2"], "debug": true, "live-restore": false, "default-runtime": "other", "runtimes": {"other": {"path": "/bin/true"}},
		"registry-mirrors": ["https://mirror.example"], "insecure-registries": ["two.example"], "max-concurrent-downloads": 7,
		"shutdown-timeout": 33, "default-shm-size": "32m", "mtu": 1400, "data-root": "/elsewhere"}`)
	reload(t, d, reloaded)
	if now := info(all); !strings.HasPrefix(now, "[rack=2] true false other [https://mirror.example/] {") {
		t.Errorf("after the reload: %s", now)
	}
	if log := d.Log(); !strings.Contains(log, `options="data-root mtu"`) {
		t.Errorf("options that need a restart are not named:\n%s", log)
	}
	var event struct {
		Type, Action string
		Actor        struct {
			ID         string
			Attributes map[string]string
		}
	}
	out := events()
	if err := json.Unmarshal([]byte(out), &event); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if event.Action != "reload" || event.Actor.ID != info("{{.ID}}") {
		t.Errorf("event %s", out)
	}
	for key, want := range map[string]string{
		"debug": "true", "labels": `["rack=2"]`, "live-restore": "false", "default-runtime": "other", "max-concurrent-downloads": "7", "max-concurrent-uploads": "5",
		"max-download-attempts": "5", "shutdown-timeout": "33", "registry-mirrors": `["https://mirror.example"]`, "insecure-registries": `["two.example"]`,
		"default-shm-size": "33554432", "name": info("{{.Name}}"),
	} {
		if got := event.Actor.Attributes[key]; got != want {
			t.Errorf("attribute %s is %q, want %q", key, got, want)
		}
	}
	// New containers have the new defaults, those that are there their own.
	if shm := d.Sampan("run", "--rm", "--runtime", "sampan", "--network", "none", busybox, "busybox", "df", "-m", "/dev/shm").Must(t); !strings.Contains(shm, " 32 ") {
		t.Errorf("/dev/shm of a new container:\n%s", shm)
	}
	if r := d.Sampan("run", "-d", "--name", "by-other", "--network", "none", busybox, "true"); r.Code == 0 {
		t.Error("a container of the new default runtime, /bin/true, has started")
	}
	if now := d.Sampan("inspect", "-f", "{{.State.Pid}} {{.HostConfig.ShmSize}}", "stays").Must(t); now != pid+" 67108864" {
		t.Errorf("the running container: %s, was %s", now, pid)
	}
	// Without the file's keys the defaults are back.
	write("{}")
	reload(t, d, reloaded)
	if now := info(all); !strings.HasPrefix(now, "[] false true sampan [] ") {
		t.Errorf("after a reload of an empty file: %s", now)
	}
}
