package ociruntime

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-containers/sampan/test/counts"
)

// trace is what containers with one prefix of their ids could leave on the host.
func trace(t testing.TB, prefix string) (left []string) {
	t.Helper()
	for _, pattern := range []string{"/sys/fs/cgroup/*" + prefix + "*", "/sys/fs/cgroup/*/*" + prefix + "*", "/sys/fs/cgroup/*/*/*" + prefix + "*"} {
		found, err := filepath.Glob(pattern)
		must(t, err)
		left = append(left, found...)
	}
	procs, err := filepath.Glob("/proc/[0-9]*/cgroup")
	must(t, err)
	for _, p := range procs {
		if data, err := os.ReadFile(p); err == nil && strings.Contains(string(data), prefix) {
			left = append(left, p+": "+string(data))
		}
	}
	return left
}

// nothingLeft compares the host before and after.
func (l *lab) nothingLeft(prefix string) func() {
	l.t.Helper()
	table, err := os.ReadFile("/proc/self/mounts")
	must(l.t, err)
	keys := keyCount(l.t)
	return func() {
		l.t.Helper()
		if left := trace(l.t, prefix); len(left) > 0 {
			l.t.Errorf("left: %q", left)
		}
		if entries, _ := os.ReadDir(l.state); len(entries) > 0 {
			l.t.Errorf("records are left: %v", entries)
		}
		// Others use the machine too: what is compared is what has our name.
		after, err := os.ReadFile("/proc/self/mounts")
		must(l.t, err)
		for line := range strings.Lines(string(after)) {
			if strings.Contains(line, l.bundle) && !strings.Contains(string(table), line) {
				l.t.Errorf("a mount is left: %s", line)
			}
		}
		// Keyrings are collected some time after their last process.
		until(l.t, "the end of the session keyrings", func() bool { return keyCount(l.t) <= keys+20 })
	}
}

func keyCount(t testing.TB) int {
	data, err := os.ReadFile("/proc/keys")
	if err != nil {
		return 0 // a kernel without keys
	}
	return strings.Count(string(data), "_ses")
}

// Containers one after the other leave nothing.
func TestLoopLifecycle(t *testing.T) {
	l := sleeper(t, nil)
	prefix := fmt.Sprintf("loop%d", os.Getpid())
	done := l.nothingLeft(prefix)
	for i := range counts.Of("oci.lifecycle") {
		id := fmt.Sprintf("%s-%d", prefix, i)
		l.ok("create", id)
		l.ok("start", id)
		l.ok("kill", id, "KILL")
		until(t, "the end", func() bool { return l.status(id) == "stopped" })
		l.ok("delete", id)
	}
	done()
}

// Eight at once, too.
func TestLoopRun(t *testing.T) {
	l := newLab(t, ours)
	l.write(base("exit 7"))
	prefix := fmt.Sprintf("par%d", os.Getpid())
	done := l.nothingLeft(prefix)
	const width = 8
	n := counts.Of("oci.run")
	var wg sync.WaitGroup
	for w := range width {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := w; i < n; i += width {
				cmd := exec.Command(l.bin, "--root", l.state, "run", fmt.Sprintf("%s-%d", prefix, i))
				cmd.Dir = l.bundle
				if out, _ := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != 7 {
					t.Errorf("run %d: exit code %d: %s", i, cmd.ProcessState.ExitCode(), out)
				}
			}
		}()
	}
	wg.Wait()
	done()
}

// A create that is killed at any moment leaves something that delete --force cleans.
func TestLoopKilledCreate(t *testing.T) {
	for name, change := range map[string]func(*specs.Spec){
		"plain":                 func(*specs.Spec) {},
		"group of its own path": func(s *specs.Spec) { s.Linux.CgroupsPath = "/ID" },
		"mounts on the host":    func(s *specs.Spec) { without(s, specs.MountNamespace) },
		"user namespace":        inUserNS,
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, ours)
			prefix := fmt.Sprintf("killed%d", os.Getpid())
			done := l.nothingLeft(prefix)
			// How long a create takes, and so until when killing it makes sense.
			s := base("exec sleep 1000")
			change(s)
			l.write(s)
			start := time.Now()
			l.ok("create", prefix+"-first")
			span := time.Since(start)
			l.ok("delete", "--force", prefix+"-first")
			for i := range counts.Of("oci.create.kill") {
				id := fmt.Sprintf("%s-%d", prefix, i)
				if strings.HasPrefix(s.Linux.CgroupsPath, "/") {
					s.Linux.CgroupsPath = "/" + id
					l.write(s)
				}
				cmd := exec.Command(l.bin, "--root", l.state, "create", id)
				cmd.Dir = l.bundle
				must(t, cmd.Start())
				time.Sleep(time.Duration(rand.Int64N(int64(span) + 1)))
				must(t, cmd.Process.Kill())
				cmd.Wait() //nolint:errcheck // it was killed, or was faster
				l.ok("delete", "--force", id)
			}
			until(t, "the end of the processes", func() bool { return len(trace(t, prefix)) == 0 })
			done()
		})
	}
}

// Two starts, and a delete during a create, have one winner and a clear loser.
func TestLocks(t *testing.T) {
	for range counts.Of("oci.locks") {
		l := sleeper(t, nil)
		id := l.id()
		l.ok("create", id)
		results := make([]result, 4)
		var wg sync.WaitGroup
		for i := range results {
			wg.Add(1)
			go func() {
				defer wg.Done()
				cmd := exec.Command(l.bin, "--root", l.state, "start", id)
				out, _ := cmd.CombinedOutput()
				results[i] = result{code: cmd.ProcessState.ExitCode(), err: string(out)}
			}()
		}
		wg.Wait()
		won := 0
		for _, r := range results {
			if r.code == 0 {
				won++
			} else if !strings.Contains(r.err, "it is running already") {
				t.Errorf("a loser says %q", r.err)
			}
		}
		if won != 1 {
			t.Errorf("%d starts succeeded", won)
		}
		l.ok("delete", "--force", id)
	}
}
