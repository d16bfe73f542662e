package ociruntime

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// abstractSocket: a container with the host's network looks for a socket of ours: of a
// container that waits for its start, and of a daemon that runs. The daemon's host is a
// network namespace in which nobody else has a socket, so that its name does not matter.
func abstractSocket(l *lab) bool {
	spy := func(pattern, ns string) int {
		s := base("grep -c '" + pattern + "' /proc/net/unix || true")
		without(s, specs.NetworkNamespace)
		if ns != "" {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.NetworkNamespace, Path: ns})
		}
		s.Mounts = s.Mounts[:4]
		r := l.run(s)
		n, err := strconv.Atoi(strings.TrimSpace(r.out))
		if err != nil {
			l.t.Fatalf("grep says %q: %s", r.out, r.err)
		}
		return n
	}
	// Another daemon on this machine may be of a version that had one.
	before := spy("@.*sampan", "")
	l.write(base("exec sleep 1000"))
	held := l.id()
	l.ok("create", held)
	defer l.call("delete", "--force", held)
	daemon := startDaemon(l.t)
	return spy("@.*sampan", "") > before || spy("@", fmt.Sprintf("/proc/%d/ns/net", daemon)) > 0
}

// startDaemon starts a sampand on a host of its own, and returns its process.
func startDaemon(t testing.TB) int {
	t.Helper()
	dir, err := os.MkdirTemp("", "s1") // short: a socket's path
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	bin, err := filepath.Abs(module + "/bin/sampand")
	must(t, err)
	if _, err := os.Stat(bin); err != nil {
		t.Fatal("sampand is missing: run make build first")
	}
	socket := filepath.Join(dir, "sock")
	cmd := exec.Command("unshare", "--net", "--mount", bin, "--data-root", dir+"/data", "--exec-root", dir+"/run", "--pidfile", dir+"/pid", "-H", "unix://"+socket)
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGTERM}
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	must(t, cmd.Start())
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }() //nolint:errcheck // it is told to end
	t.Cleanup(func() {
		_ = cmd.Process.Signal(unix.SIGTERM)
		<-ended
	})
	for end := time.Now().Add(limit); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(socket); err == nil {
			return cmd.Process.Pid
		}
		select {
		case <-ended:
			t.Fatalf("sampand ended:\n%s", log.String())
		default:
		}
		if time.Now().After(end) {
			t.Fatalf("sampand is not ready:\n%s", log.String())
		}
	}
}
