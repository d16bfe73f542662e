package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/test/bench/clock"
)

const (
	imageRounds = 3
	registryAt  = "127.0.0.1:5000/"
	bigImage    = registryAt + "big:latest"
	zstdImage   = registryAt + "zstd:latest"
	debianImage = registryAt + "debian:latest"
	thinImage   = registryAt + "thin:latest"
	pushTo      = "127.0.0.1:5001/copy:latest"
	// quietFor is how long a daemon must have done nothing before a measurement:
	// what a command left to do is over then. settleWait bounds the waiting.
	quietFor, settleWait = 300 * time.Millisecond, 10 * time.Second
)

// shipper is an engine that pulls and pushes, with a registry of images and an
// empty one in its own network namespace.
type shipper struct {
	name   string
	dir    string
	argv   func(args ...string) []string
	pid    int // a process in its network namespace; also the daemon's, if it has one
	daemon bool
	procs  []*exec.Cmd
	empty  string // storage of the empty registry
}

// imageRow is what is measured: of all engines, and of the programs that stand for
// the limit. peers is the wall time that docker.io and podman may not stay below, as
// a ratio, and limit what the processor time may be of the limit's.
type imageRow struct {
	name          string
	docker, peers float64
	limit         float64
	run           func(*shipper) (wall, cpu time.Duration, err error)
	floor         string // the image whose blobs the limit fetches and unpacks
}

// imageResult is one line of the table.
type imageResult struct {
	imageRow
	wall map[string]time.Duration
	cpu  map[string]time.Duration
}

// start begins a process in the shipper's network namespace.
func (s *shipper) start(argv ...string) error {
	cmd := exec.Command("nsenter", append([]string{"-t", strconv.Itoa(s.pid), "-n"}, argv...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.procs = append(s.procs, cmd)
	return nil
}

func (s *shipper) stop() {
	for _, p := range s.procs {
		_ = p.Process.Kill()
		_ = p.Wait()
	}
}

// registry serves a directory on a port of the shipper's loopback.
func (s *shipper) registry(storage string, port int) error {
	config := filepath.Join(s.dir+".registry", fmt.Sprint(port, ".yml"))
	if err := os.MkdirAll(filepath.Dir(config), 0o700); err != nil {
		return err
	}
	text := fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: 127.0.0.1:%d}\n", storage, port)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return err
	}
	if err := s.start("docker-registry", "serve", config); err != nil {
		return fmt.Errorf("%w (install docker-registry)", err)
	}
	for deadline := time.Now().Add(readyWait); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if s.in("curl", "-sf", fmt.Sprintf("http://127.0.0.1:%d/v2/", port)).Run() == nil {
			return nil
		}
	}
	return fmt.Errorf("docker-registry does not answer on port %d", port)
}

// in is a command in the shipper's network namespace.
func (s *shipper) in(argv ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{"-t", strconv.Itoa(s.pid), "-n"}, argv...)...)
}

func (s *shipper) do(args ...string) error {
	_, _, err := s.timed(args...)
	return err
}

// timed runs a command of the client; cpu is what it and the daemon's processes
// together used meanwhile.
func (s *shipper) timed(args ...string) (wall, cpu time.Duration, err error) {
	before := treeTime(s.pid, s.daemon)
	cmd := s.in(s.argv(args...)...)
	began := time.Now()
	out, err := cmd.CombinedOutput()
	wall = time.Since(began)
	if err != nil {
		return 0, 0, fmt.Errorf("%s %s: %w: %s", s.name, strings.Join(args, " "), err, tail(string(out), 3))
	}
	usage := cmd.ProcessState
	return wall, usage.UserTime() + usage.SystemTime() + treeTime(s.pid, s.daemon) - before, nil
}

// treeTime is the processor time of a process, its children and what they reaped.
func treeTime(pid int, tree bool) time.Duration {
	if !tree {
		return 0
	}
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every platform of ours
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
	var sum time.Duration
	for _, f := range fields[11:15] { // utime, stime, cutime, cstime
		n, _ := strconv.Atoi(f)
		sum += time.Duration(n) * tick
	}
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, t := range tasks {
		children, _ := os.ReadFile(t)
		for _, child := range strings.Fields(string(children)) {
			if n, err := strconv.Atoi(child); err == nil {
				sum += treeTime(n, true)
			}
		}
	}
	return sum
}

// measureImages fills the group "images": pulls and pushes of an image of 500 MB
// in 6 layers with 18,000 files, and of one of 40 small layers.
func (r *report) measureImages(dir string, ours, peer *engine, parts []string) error {
	shippers, err := shippers(dir, ours, peer)
	defer func() {
		for _, s := range shippers {
			s.stop()
			if s.dir != ours.dir && s.dir != peer.dir {
				_ = unix.Unmount(s.dir, unix.MNT_DETACH)
			}
		}
	}()
	if err != nil {
		return err
	}
	storage, err := filepath.Abs(registryStorage)
	if err != nil {
		return err
	}
	for _, s := range shippers {
		if err := s.registry(storage, 5000); err != nil {
			return err
		}
		if err := s.registry(s.empty, 5001); err != nil {
			return err
		}
	}
	if err := fillRegistry(dir, shippers[0]); err != nil {
		return err
	}
	for _, row := range imageRows(filepath.Join(dir, "saved.tar")) {
		if len(parts) > 1 && !selects(parts, row.name) {
			continue
		}
		res, err := row.measure(shippers, filepath.Join(dir, "p", "limit"))
		if err != nil {
			return err
		}
		if r.images = append(r.images, res); len(r.images) == 1 {
			fmt.Println()
			r.imageHead(os.Stdout)
		}
		r.printImage(os.Stdout, res)
	}
	r.pulled = peakMemory(ours.daemon.Process.Pid)
	fmt.Printf("\nthe daemon's peak: %d MiB\n", r.pulled)
	if len(parts) > 1 && !selects(parts, "disk after a pull") {
		return nil
	}
	if r.lean, err = measureLean(dir, storage, shippers[0]); err == nil {
		fmt.Println(r.lean)
	}
	return err
}

func imageRows(saved string) []imageRow {
	pull := func(name string) func(*shipper) (time.Duration, time.Duration, error) {
		return func(s *shipper) (time.Duration, time.Duration, error) {
			for _, old := range []string{bigImage, pushTo, zstdImage, name} { // some are the same image
				_ = s.do("rmi", "-f", old)
			}
			s.settle()
			return s.timed("pull", "-q", name)
		}
	}
	return []imageRow{
		{"pull 500 MB, 6 layers, gzip", 3, 3, 1.5, pull(bigImage), "big"},
		{"pull of an unchanged tag", 0, 0, 0, func(s *shipper) (time.Duration, time.Duration, error) { return s.timed("pull", "-q", bigImage) }, ""},
		{"push 500 MB to an empty registry", 15, 0, 0, func(s *shipper) (time.Duration, time.Duration, error) {
			if err := s.do("tag", bigImage, pushTo); err != nil {
				return 0, 0, err
			}
			if err := os.RemoveAll(filepath.Join(s.empty, "docker")); err != nil {
				return 0, 0, err
			}
			unix.Sync()
			return s.timed("push", pushTo)
		}, ""},
		{"save 500 MB", 3, 0, 0, func(s *shipper) (time.Duration, time.Duration, error) {
			file := s.dir + "/saved.tar"
			_ = os.Remove(file)
			unix.Sync()
			wall, cpu, err := s.timed("save", "-o", file, bigImage)
			if err == nil && s.name == peerName { // what all of them load
				err = exec.Command("mv", file, saved).Run()
			}
			return wall, cpu, err
		}, ""},
		{"rmi of 500 MB", 3, 0, 0, func(s *shipper) (time.Duration, time.Duration, error) {
			if err := s.do("load", "-q", "-i", saved); err != nil {
				return 0, 0, err
			}
			_ = s.do("rmi", pushTo)
			s.settle()
			return s.timed("rmi", bigImage)
		}, ""},
		{"load 500 MB", 3, 0, 0, func(s *shipper) (time.Duration, time.Duration, error) {
			_ = s.do("rmi", "-f", bigImage)
			s.settle()
			return s.timed("load", "-q", "-i", saved)
		}, ""},
		{"pull 40 layers", 10, 0, 0, pull(thinImage), "thin"},
		{"pull 500 MB, 6 layers, zstd", 3, 3, 0, pull(zstdImage), ""},
		{"pull Debian minbase with nginx, 1 layer", 3, 3, 1.5, pull(debianImage), "debian"},
	}
}

// settle returns when the daemon has ended what it does in the background, such as
// deleting the files of a removed image, and the disk has everything.
func (s *shipper) settle() {
	for end := time.Now().Add(settleWait); time.Now().Before(end); {
		before := treeTime(s.pid, s.daemon)
		time.Sleep(quietFor)
		if treeTime(s.pid, s.daemon) == before {
			break
		}
	}
	unix.Sync()
}

// measure takes the rounds of one row. An engine that cannot do it (docker.io 20.10
// and zstd) is left out.
func (row imageRow) measure(shippers []*shipper, scratch string) (imageResult, error) {
	wall, cpu := map[string][]time.Duration{}, map[string][]time.Duration{}
	note := func(name string, w, c time.Duration) {
		wall[name], cpu[name] = append(wall[name], w), append(cpu[name], c)
	}
	for range imageRounds {
		for _, s := range shippers {
			w, c, err := row.run(s)
			if err != nil && s.name == "sampan" {
				return imageResult{}, err
			}
			if err == nil {
				note(s.name, w, c)
			}
		}
		if row.floor == "" {
			continue
		}
		w, c, err := shippers[len(shippers)-1].limit(row.floor, scratch)
		if err != nil {
			return imageResult{}, err
		}
		note("limit", w, c)
	}
	res := imageResult{row, map[string]time.Duration{}, map[string]time.Duration{}}
	for name := range wall {
		res.wall[name], res.cpu[name] = clock.Median(wall[name]), clock.Median(cpu[name])
	}
	return res, nil
}

// limit fetches and unpacks the layers of an image with curl, sha256sum, igzip and
// tar, one chain of them a layer, all beside each other.
func (s *shipper) limit(name, scratch string) (wall, cpu time.Duration, err error) {
	if err := os.RemoveAll(scratch); err != nil {
		return 0, 0, err
	}
	if err := os.MkdirAll(scratch, 0o700); err != nil {
		return 0, 0, err
	}
	unix.Sync()
	const script = `set -e; cd "$1"; at=http://$3/v2/$2
layers=$(curl -sf -H 'Accept: application/vnd.oci.image.manifest.v1+json' $at/manifests/latest | grep -o 'sha256:[0-9a-f]*' | tail -n +2)
for l in $layers; do
  mkdir "$l"
  (curl -sf -o "$l.gz" "$at/blobs/$l" && sha256sum "$l.gz" && igzip -dc "$l.gz" | tee >(sha256sum) | tar -C "$l" -xf -) &
done
wait`
	cmd := s.in("bash", "-c", script, "bash", scratch, name, strings.TrimSuffix(registryAt, "/"))
	began := time.Now()
	out, err := cmd.CombinedOutput()
	wall = time.Since(began)
	if err != nil {
		return 0, 0, fmt.Errorf("limit: %w (install isal): %s", err, tail(string(out), 3))
	}
	return wall, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), nil
}

// shippers are the two engines and podman, which has no daemon.
func shippers(dir string, ours, peer *engine) ([]*shipper, error) {
	var list []*shipper
	for _, e := range []*engine{ours, peer} {
		list = append(list, &shipper{name: e.name, dir: e.dir, pid: e.daemon.Process.Pid, daemon: true,
			argv: func(args ...string) []string { return append(append([]string{}, e.client...), args...) }})
	}
	p := &shipper{name: "podman", dir: filepath.Join(dir, "p")}
	p.argv = func(args ...string) []string {
		argv := []string{"podman", "--root", p.dir + "/root", "--runroot", p.dir + "/run", "--storage-driver", "overlay", args[0]}
		if args[0] == "pull" || args[0] == "push" {
			argv = append(argv, "--tls-verify=false")
		}
		return append(argv, args[1:]...)
	}
	list = append(list, p)
	if err := disk(p.dir); err != nil {
		return list, err
	}
	holder := exec.Command("unshare", "--net", "sh", "-c", "ip link set lo up && exec sleep 3600")
	holder.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := holder.Start(); err != nil {
		return list, err
	}
	p.pid, p.procs = holder.Process.Pid, []*exec.Cmd{holder}
	time.Sleep(200 * time.Millisecond) // its loopback comes up
	for _, s := range list {
		s.empty = s.dir + ".empty"
		if err := os.MkdirAll(s.empty, 0o700); err != nil {
			return list, err
		}
	}
	return list, nil
}

// peakMemory is the most that a process ever held, in MiB.
func peakMemory(pid int) int {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, _ := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")))
			return n >> 10
		}
	}
	return 0
}

func (r *report) imageHead(w io.Writer) {
	fmt.Fprintf(w, "| images | sampan s (processor s) | %s | podman | limit | ratios | target |\n|---|--:|--:|--:|--:|--:|---|\n", peerName)
}

func (r *report) printImage(w io.Writer, res imageResult) {
	cell := func(name string) string {
		if _, ok := res.wall[name]; !ok {
			return "–"
		}
		return fmt.Sprintf("%.2f (%.2f)", res.wall[name].Seconds(), res.cpu[name].Seconds())
	}
	docker, podman := ratio(res.wall, peerName), ratio(res.wall, "podman")
	var targets []string
	demand := func(want float64, text string, ok bool) {
		if want > 0 {
			targets = append(targets, text+": "+clock.Verdict(ok))
		}
	}
	if _, ok := res.wall[peerName]; ok {
		demand(res.docker, fmt.Sprintf("≥ %.0f of %s", res.docker, peerName), docker >= res.docker)
	}
	demand(res.peers, fmt.Sprintf("≥ %.0f of podman", res.peers), podman >= res.peers)
	if res.cpu["limit"] > 0 {
		share := float64(res.cpu["sampan"]) / float64(res.cpu["limit"])
		demand(res.limit, fmt.Sprintf("processor ≤ %.1f of the limit's (%.2f)", res.limit, share), share <= res.limit)
	}
	fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %.1f, %.1f | %s |\n", res.name, cell("sampan"), cell(peerName), cell("podman"), cell("limit"), docker, podman, strings.Join(targets, "; "))
}
