package hook

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func shell(script string) specs.Hook {
	return specs.Hook{Path: "/bin/sh", Args: []string{"sh", "-c", script}, Env: []string{"PATH=/bin:/usr/bin"}}
}

func TestRun(t *testing.T) {
	ctx := context.Background()
	out := filepath.Join(t.TempDir(), "out")
	one := 1
	state := &specs.State{Version: "1.0", ID: "x", Status: specs.StateCreating, Pid: 7, Bundle: "/b", Annotations: map[string]string{"k": "v"}}
	t.Run("state and environment", func(t *testing.T) {
		if err := Run(ctx, "prestart", []specs.Hook{shell("cat >" + out + "; env >>" + out)}, state); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{`"ociVersion":"1.0"`, `"id":"x"`, `"status":"creating"`, `"pid":7`, `"bundle":"/b"`, `"k":"v"`, "PATH=/bin:/usr/bin"} {
			if !strings.Contains(string(data), want) {
				t.Errorf("the hook got %s, without %s", data, want)
			}
		}
		if strings.Contains(string(data), "HOME=") {
			t.Error("the hook inherited the environment of the runtime")
		}
	})
	t.Run("without an environment it gets ours, as from runc", func(t *testing.T) {
		t.Setenv("OF_THE_RUNTIME", "yes")
		h := shell("test $OF_THE_RUNTIME = yes")
		h.Env = nil
		if err := Run(ctx, "prestart", []specs.Hook{h}, state); err != nil {
			t.Error(err)
		}
		inside := &specs.Process{Env: []string{"A=b"}}
		if got := Env(h, false, inside); len(got) != 1 || got[0] != "A=b" {
			t.Errorf("in the container it gets %q", got)
		}
		if got := Env(specs.Hook{Env: []string{}}, false, inside); len(got) != 0 {
			t.Errorf("an empty one becomes %q", got)
		}
	})
	t.Run("the first failure ends it", func(t *testing.T) {
		os.Remove(out)
		err := Run(ctx, "createRuntime", []specs.Hook{shell("echo why; exit 3"), shell("touch " + out)}, state)
		if err == nil || !strings.Contains(err.Error(), "error running createRuntime hook #0: /bin/sh: exit status 3: why") {
			t.Errorf("got %v", err)
		}
		if _, err := os.Stat(out); err == nil {
			t.Error("the second hook was run")
		}
	})
	t.Run("poststart and poststop go on", func(t *testing.T) {
		os.Remove(out)
		var warned []string
		RunAll(ctx, "poststop", []specs.Hook{shell("exit 1"), {Path: "/nowhere"}, shell("touch " + out)}, state, func(s string) { warned = append(warned, s) })
		if _, err := os.Stat(out); err != nil || len(warned) != 2 || !strings.Contains(warned[1], "/nowhere: it does not exist") {
			t.Errorf("warnings %q, last hook: %v", warned, err)
		}
	})
	t.Run("timeout", func(t *testing.T) {
		h := shell("sleep 100 & sleep 100")
		h.Timeout = &one
		start := time.Now()
		err := Run(ctx, "prestart", []specs.Hook{h}, state)
		if err == nil || !strings.Contains(err.Error(), "did not end in its time of 1 s") {
			t.Errorf("got %v", err)
		}
		if took := time.Since(start); took > 60*time.Second {
			t.Errorf("it took %v", took)
		}
	})
	t.Run("what a hook leaves behind is not waited for", func(t *testing.T) {
		if err := Run(ctx, "prestart", []specs.Hook{shell("sleep 3 &")}, state); err != nil {
			t.Error(err)
		}
	})
}
