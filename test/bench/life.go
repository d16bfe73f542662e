package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sampan-containers/sampan/test/bench/clock"
)

// The group life: what a user waits for in the life of a container besides its
// start. Each row has one figure, the median of its rounds.

const (
	mib       = 1 << 20
	logBytes  = 1 << 30
	copyBytes = 200 * mib
	diffBytes = 50 * mib
	crowd     = 500 // containers of the row about ps
	restarts  = 20  // in one round; five rounds make a hundred
	// probeEvery is the interval of health checks, probeRuns how many results are
	// looked at: an engine keeps five.
	probeEvery = 200 * time.Millisecond
	probeRuns  = 5
)

// lifeRow is one line of the group.
type lifeRow struct {
	name   string
	target float64
	rounds int
	// prepare and finish run once for an engine, untimed.
	prepare, finish func(e *engine) error
	// run is one round; it returns what took the time.
	run func(e *engine) (time.Duration, error)
}

func timing(f func(e *engine) error) func(e *engine) (time.Duration, error) {
	return func(e *engine) (time.Duration, error) {
		return clock.Timed(func() error { return f(e) })
	}
}

func lifeRows(dir string) []lifeRow {
	single := command("run", "-d", "--name", "target", image, "sleep", "3600")
	remove := command("rm", "-f", "target")
	file := filepath.Join(dir, "copied")
	withFile := func(e *engine) error {
		if err := single(e); err != nil {
			return err
		}
		if err := bigFile(file); err != nil {
			return err
		}
		_, err := e.do("cp", file, "target:/root/big")
		return err
	}
	return []lifeRow{
		{"a million lines of `yes` into the log", 0, 3, nothing, nothing, timing(command("run", "--rm", "--network", "none", image, "sh", "-c", "busybox yes | busybox head -n 1000000"))},
		{"logs of 1 GB", 3, 1, writtenLog, remove, timing(func(e *engine) error { return e.discard("logs", "target") })},
		{"logs --tail 10 of 1 GB", 10, 9, writtenLog, remove, timing(command("logs", "--tail", "10", "target"))},
		{"cp of 200 MB into a container", 2, 5, withFile, remove, timing(func(e *engine) error {
			_, err := e.do("cp", file, "target:/root/big")
			return err
		})},
		{"cp of 200 MB out of a container", 2, 5, withFile, remove, timing(func(e *engine) error {
			_, err := e.do("cp", "target:/root/big", filepath.Join(dir, "back-"+e.name))
			return err
		})},
		{"commit of 50 MB", 3, 5, withDifference, removeCommitted, commit},
		{"stats --no-stream", 10, 5, single, remove, timing(command("stats", "--no-stream"))},
		{"ps -a with 500 containers", 5, 9, makeCrowd, removeCrowd, timing(command("ps", "-a"))},
		{"restart -t 0, 20 times", 10, 5, single, remove, timing(func(e *engine) error {
			for range restarts {
				if _, err := e.do("restart", "-t", "0", "target"); err != nil {
					return err
				}
			}
			return nil
		})},
		{"a health probe by a command, start to end", 0, probeRuns, probed("true", "true"), remove, probeTime},
		{"a health probe of a port (docker.io: by a command)", 20, probeRuns, probed("tcp:8080", "true"), remove, probeTime},
	}
}

// discard runs a command whose output is too long to keep.
func (e *engine) discard(args ...string) error {
	cmd := e.command(args...)
	cmd.Stdout, cmd.Stderr = nil, nil // /dev/null
	return cmd.Run()
}

// writtenLog gives a container that ran a log of 1 GB: the same entries for both
// engines, in the file that each reads. Writing it through the container would
// measure the writing, and take minutes.
func writtenLog(e *engine) error {
	if _, err := e.do("run", "--name", "target", image, "echo", "x"); err != nil {
		return err
	}
	id, err := e.do("inspect", "-f", "{{.Id}}", "target")
	if err != nil {
		return err
	}
	path, err := e.do("inspect", "-f", "{{.LogPath}}", "target")
	if err != nil {
		return err
	}
	if !strings.Contains(path, id) {
		return fmt.Errorf("%s: the log of %s is at %q", e.name, id, path)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	var block bytes.Buffer
	for i := 0; block.Len() < mib; i++ {
		fmt.Fprintf(&block, `{"log":"%06d the quick brown fox jumps over the lazy dog\n","stream":"stdout","time":"2026-11-24T06:00:00.123456789Z"}`+"\n", i)
	}
	for written := 0; written < logBytes; written += block.Len() {
		if _, err := f.Write(block.Bytes()); err != nil {
			return err
		}
	}
	// What is still on its way to the disk must not compete with the rounds.
	return errors.Join(f.Sync(), f.Close())
}

// bigFile makes the file that is copied.
func bigFile(path string) error {
	if info, err := os.Stat(path); err == nil && info.Size() == copyBytes {
		return nil
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if _, err := io.CopyN(f, noise{}, copyBytes); err != nil {
		return err
	}
	return f.Close()
}

// noise is bytes that do not repeat soon.
type noise struct{}

func (noise) Read(p []byte) (int, error) {
	x := uint64(88172645463325252)
	for i := range p {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		p[i] = byte(x)
	}
	return len(p), nil
}

func withDifference(e *engine) error {
	_, err := e.do("run", "-d", "--name", "target", image, "sh", "-c",
		fmt.Sprintf("i=0; while [ $i -lt 50 ]; do busybox dd if=/dev/urandom of=/root/$i bs=1M count=%d 2>/dev/null; i=$((i+1)); done; echo ready; exec sleep 3600", diffBytes/mib/50))
	if err != nil {
		return err
	}
	for end := time.Now().Add(readyWait); ; time.Sleep(10 * time.Millisecond) {
		if out, err := e.do("logs", "target"); err != nil || strings.Contains(out, "ready") {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s: the files to commit were not written within %v", e.name, readyWait)
		}
	}
}

// commit makes a new image each time; the one before goes untimed.
func commit(e *engine) (time.Duration, error) {
	d, err := clock.Timed(func() error { _, err := e.do("commit", "target", "committed:latest"); return err })
	if err == nil {
		_, err = e.do("rmi", "-f", "committed:latest")
	}
	return d, err
}

func removeCommitted(e *engine) error {
	_, err := e.do("rm", "-f", "target")
	return err
}

func crowdNames() []string {
	all := make([]string, crowd)
	for i := range all {
		all[i] = fmt.Sprintf("c%d", i)
	}
	return all
}

// makeCrowd creates the containers, four at a time. They do not run: five hundred
// shims of the peer's do not fit into the memory of a small machine.
func makeCrowd(e *engine) error {
	const side = 4
	errs := make(chan error, side)
	for i := range side {
		go func() {
			for n := i; n < crowd; n += side {
				if _, err := e.do("create", "--name", fmt.Sprintf("c%d", n), image, "sleep", "3600"); err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	var first error
	for range side {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	return first
}

func removeCrowd(e *engine) error {
	_, err := e.do(append([]string{"rm", "-f"}, crowdNames()...)...)
	return err
}

// probed starts a container with a health check, of ours and of the peer.
func probed(ours, peer string) func(e *engine) error {
	return func(e *engine) error {
		check := ours
		if e.name == peerName {
			check = peer
		}
		_, err := e.do("run", "-d", "--name", "target", "--health-cmd", check, "--health-interval", probeEvery.String(),
			image, "sh", "-c", "exec busybox httpd -f -p 8080")
		return err
	}
}

// probeTime is the median duration of the last probes, as the engine recorded them.
func probeTime(e *engine) (time.Duration, error) {
	type result struct {
		Start, End time.Time
		ExitCode   int
	}
	for end := time.Now().Add(readyWait); time.Now().Before(end); time.Sleep(probeEvery) {
		out, err := e.do("inspect", "-f", "{{json .State.Health.Log}}", "target")
		if err != nil {
			return 0, err
		}
		var log []result
		if err := json.Unmarshal([]byte(out), &log); err != nil {
			return 0, err
		}
		if len(log) < probeRuns {
			continue
		}
		var all []time.Duration
		for _, r := range log {
			if r.ExitCode != 0 {
				return 0, fmt.Errorf("%s: a probe failed: %s", e.name, out)
			}
			all = append(all, r.End.Sub(r.Start))
		}
		time.Sleep(probeRuns * probeEvery) // the next round has new ones
		return clock.Median(all), nil
	}
	return 0, fmt.Errorf("%s: no %d probes within %v", e.name, probeRuns, readyWait)
}

// lifeResult is a row's figures, by the engine's name.
type lifeResult struct {
	row     lifeRow
	figures map[string]time.Duration
}

// measureLife runs one row over the engines, paired round by round; the first
// round warms up.
func measureLife(ctx context.Context, r lifeRow, engines []*engine) (lifeResult, error) {
	res := lifeResult{r, map[string]time.Duration{}}
	all := map[string][]time.Duration{}
	for _, e := range engines {
		if err := r.prepare(e); err != nil {
			return res, fmt.Errorf("%s: %w", r.name, err)
		}
	}
	for round := range r.rounds + 1 {
		for _, e := range engines {
			d, err := r.run(e)
			if err != nil {
				return res, fmt.Errorf("%s: %w", r.name, err)
			}
			if round > 0 {
				all[e.name] = append(all[e.name], d)
			}
		}
	}
	for _, e := range engines {
		res.figures[e.name] = clock.Median(all[e.name])
		if err := r.finish(e); err != nil {
			return res, err
		}
		if err := e.waitGone(ctx); err != nil {
			return res, err
		}
	}
	return res, nil
}

func (r *report) lifeHead(w io.Writer) {
	fmt.Fprintf(w, "| what | sampan | %s | ratio | target |\n|---|--:|--:|--:|---|\n", peerName)
}

func (r *report) printLife(w io.Writer, res lifeResult) {
	times := ratio(res.figures, peerName)
	target := "–"
	if res.row.target > 0 {
		target = fmt.Sprintf("≥ %.0f: %s", res.row.target, clock.Verdict(times >= res.row.target))
	}
	fmt.Fprintf(w, "| %s | %s | %s | %.1f | %s |\n", res.row.name, clock.Millis(res.figures["sampan"]), clock.Millis(res.figures[peerName]), times, target)
}

// measureLifeRows runs the group, or the rows that are selected.
func (r *report) measureLifeRows(ctx context.Context, dir string, parts []string, engines []*engine) error {
	for _, row := range lifeRows(dir) {
		if len(parts) > 0 && !slices.Contains(parts, "life") && !selects(parts, row.name) {
			continue
		}
		res, err := measureLife(ctx, row, engines)
		if err != nil {
			return err
		}
		if r.life = append(r.life, res); len(r.life) == 1 {
			fmt.Println()
			r.lifeHead(os.Stdout)
		}
		r.printLife(os.Stdout, res)
	}
	return nil
}
