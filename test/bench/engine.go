package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

const (
	readyWait = 30 * time.Second
	goneWait  = 120 * time.Second
	diskBytes = 4 << 30
)

// engine is one container engine on its own roots, on a fresh loop-mounted
// ext4, in its own network namespace.
type engine struct {
	name     string
	client   []string // the command line before the verb
	dir      string
	daemon   *exec.Cmd
	cgroup   string // name of its parent group in every hierarchy
	shimName string // name of its per-container process, as in /proc/PID/comm
}

// disk makes a fresh ext4 in a sparse file and mounts it at dir.
func disk(dir string) error {
	file := dir + ".ext4"
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(diskBytes); err != nil {
		return err
	}
	for _, argv := range [][]string{{"mkfs.ext4", "-q", "-F", file}, {"mount", "-o", "loop", file, dir}} {
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", argv[0], err, out)
		}
	}
	return nil
}

// start starts the daemon in network and mount namespaces of its own and waits
// until its client gets an answer.
func (e *engine) start(argv ...string) error {
	log, err := os.Create(e.dir + ".log")
	if err != nil {
		return err
	}
	defer log.Close()
	// The host's resolver, for the names outside of the part dns.
	resolv := e.dir + ".resolv.conf"
	if err := os.WriteFile(resolv, []byte("nameserver "+dnsUpstream+"\n"), 0o644); err != nil {
		return err
	}
	script := `ip link set lo up && ip addr add ` + dnsUpstream + `/32 dev lo && mount --make-rprivate / && mount --bind ` + resolv + ` /etc/resolv.conf && exec "$@"`
	e.daemon = exec.Command("unshare", append([]string{"--net", "--mount", "sh", "-c", script, "sh"}, argv...)...)
	e.daemon.Stdout, e.daemon.Stderr = log, log
	// On the tmpfs of the exec root nothing of the machine's own is found.
	e.daemon.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := e.daemon.Start(); err != nil {
		return err
	}
	for deadline := time.Now().Add(readyWait); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if e.command("ps").Run() == nil {
			return nil
		}
	}
	raw, _ := os.ReadFile(e.dir + ".log")
	return fmt.Errorf("%s is not ready after %v:\n%s", e.name, readyWait, tail(string(raw), 10))
}

func tail(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

func (e *engine) stop() {
	if e.daemon == nil {
		return
	}
	_ = e.daemon.Process.Signal(syscall.SIGTERM)
	done := make(chan struct{})
	go func() { _ = e.daemon.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		_ = e.daemon.Process.Kill()
		<-done
	}
}

func (e *engine) command(args ...string) *exec.Cmd {
	argv := append(append([]string{}, e.client...), args...)
	return exec.Command(argv[0], argv[1:]...)
}

// do runs a command of the client and fails with what it printed.
func (e *engine) do(args ...string) (string, error) {
	out, err := e.command(args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", e.name, strings.Join(args, " "), err, tail(string(out), 5))
	}
	return strings.TrimSpace(string(out)), nil
}

// import_ makes the benchmark's image from a tar file.
func (e *engine) importImage(tar, name string) error {
	_, err := e.do("import", tar, name)
	return err
}

// count counts the links of a kind in the engine's namespace: "veth" are the
// containers', "bridge" the networks'.
func (e *engine) count(kind string) int {
	if e.daemon == nil {
		return 0
	}
	ns, err := netns.GetFromPid(e.daemon.Process.Pid)
	if err != nil {
		return 0
	}
	defer ns.Close()
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return 0
	}
	defer h.Close()
	all, _ := h.LinkList()
	n := 0
	for _, link := range all {
		if link.Type() == kind {
			n++
		}
	}
	return n
}

// waitCount waits until there are as few links of a kind.
func (e *engine) waitCount(ctx context.Context, kind string, want int) error {
	ctx, cancel := context.WithTimeout(ctx, goneWait)
	defer cancel()
	for e.count(kind) > want {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: more than %d links of the kind %s are left", e.name, want, kind)
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}

// remains names the first thing of an ended container that still exists, or "".
func (e *engine) remains() string {
	for _, pattern := range []string{"/sys/fs/cgroup/*/" + e.cgroup + "/*", filepath.Join(e.dir, "data/containers/*"), filepath.Join(e.dir, "exec/netns/*")} {
		paths, _ := filepath.Glob(pattern)
		for _, path := range paths {
			if exists(path) {
				return path
			}
		}
	}
	if n := e.count("veth"); n > 0 {
		return fmt.Sprintf("%d links", n)
	}
	if pids := processes(e.shimName); len(pids) > 0 {
		return "process " + strconv.Itoa(pids[0])
	}
	return ""
}

// exists tells whether path is a directory or a namespace. docker.io leaves the
// empty file on which a namespace was mounted for a minute: that is neither.
func exists(path string) bool {
	info, err := os.Stat(path)
	if err != nil {
		return false
	}
	var fs unix.Statfs_t
	return info.IsDir() || unix.Statfs(path, &fs) == nil && fs.Type == unix.NSFS_MAGIC
}

// waitGone waits until nothing of ended containers exists.
func (e *engine) waitGone(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, goneWait)
	defer cancel()
	for {
		left := e.remains()
		if left == "" {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.New(e.name + " left behind: " + left)
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// processes lists the pids whose command name is comm.
func processes(comm string) []int {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	var pids []int
	for _, dir := range dirs {
		raw, err := os.ReadFile(filepath.Join(dir, "comm"))
		if err != nil || strings.TrimSpace(string(raw)) != comm {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(dir)); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}
