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
)

const (
	imageRounds = 3
	bigImage    = "127.0.0.1:5000/big:latest"
	thinImage   = "127.0.0.1:5000/thin:latest"
	pushTo      = "127.0.0.1:5001/copy:latest"
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

// imageResult is one line of the table.
type imageResult struct {
	name   string
	target float64
	wall   map[string]time.Duration
	cpu    map[string]time.Duration
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
func (r *report) measureImages(dir string, ours, peer *engine) error {
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
	storage := filepath.Join(dir, "registry")
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
	for _, row := range []struct {
		name   string
		target float64
		run    func(*shipper) (wall, cpu time.Duration, err error)
	}{
		{"pull 500 MB, 6 layers, gzip", 3, func(s *shipper) (time.Duration, time.Duration, error) {
			_ = s.do("rmi", "-f", bigImage, pushTo)
			unix.Sync()
			return s.timed("pull", "-q", bigImage)
		}},
		{"pull of an unchanged tag", 0, func(s *shipper) (time.Duration, time.Duration, error) { return s.timed("pull", "-q", bigImage) }},
		{"push 500 MB to an empty registry", 15, func(s *shipper) (time.Duration, time.Duration, error) {
			if err := s.do("tag", bigImage, pushTo); err != nil {
				return 0, 0, err
			}
			if err := os.RemoveAll(filepath.Join(s.empty, "docker")); err != nil {
				return 0, 0, err
			}
			unix.Sync()
			return s.timed("push", pushTo)
		}},
		{"pull 40 layers", 10, func(s *shipper) (time.Duration, time.Duration, error) {
			_ = s.do("rmi", "-f", thinImage)
			unix.Sync()
			return s.timed("pull", "-q", thinImage)
		}},
	} {
		res := imageResult{name: row.name, target: row.target, wall: map[string]time.Duration{}, cpu: map[string]time.Duration{}}
		wall, cpu := map[string][]time.Duration{}, map[string][]time.Duration{}
		for range imageRounds {
			for _, s := range shippers {
				w, c, err := row.run(s)
				if err != nil {
					return err
				}
				wall[s.name], cpu[s.name] = append(wall[s.name], w), append(cpu[s.name], c)
			}
		}
		for _, s := range shippers {
			res.wall[s.name], res.cpu[s.name] = median(wall[s.name]), median(cpu[s.name])
		}
		r.images = append(r.images, res)
		if len(r.images) == 1 {
			fmt.Println()
			r.imageHead(os.Stdout)
		}
		r.printImage(os.Stdout, res)
	}
	r.pulled = peakMemory(ours.daemon.Process.Pid)
	fmt.Printf("\nthe daemon's peak: %d MiB\n", r.pulled)
	return nil
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
	fmt.Fprintf(w, "| images | sampan s (processor s) | %s | podman | ratios | target |\n|---|--:|--:|--:|--:|---|\n", peerName)
}

func (r *report) printImage(w io.Writer, res imageResult) {
	cell := func(name string) string {
		return fmt.Sprintf("%.2f (%.2f)", res.wall[name].Seconds(), res.cpu[name].Seconds())
	}
	docker, podman := ratio(res.wall, peerName), ratio(res.wall, "podman")
	target := ""
	if res.target > 0 {
		target = fmt.Sprintf("≥ %.0f of %s: %s", res.target, peerName, verdict(docker >= res.target))
	}
	fmt.Fprintf(w, "| %s | %s | %s | %s | %.1f, %.1f | %s |\n", res.name, cell("sampan"), cell(peerName), cell("podman"), docker, podman, target)
}
