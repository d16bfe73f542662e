// Command bench prints Sampan's figures beside those of the peers installed,
// all from one run on one machine, paired round by round, as medians and
// ratios; and writes them to docs/benchmarks.md. Each engine has a fresh
// loop-mounted ext4 and a network namespace of its own. test/bench/run.sh
// starts it in mount and pid namespaces that end with it.
//
// With arguments (runtime, engine, life, network, dns, memory) only these parts run, and
// nothing is written; network:traffic is a part of the group network. Any other argument
// selects the rows of engine and life that contain it ("exec", "20 at once").
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func fields(s string) []string { return strings.Fields(s) }

// selects tells whether an argument that is no group is a part of a row's name.
func selects(args []string, row string) bool {
	return slices.ContainsFunc(args, func(arg string) bool {
		group, _, _ := strings.Cut(arg, ":")
		return group != "network" && strings.Contains(row, arg)
	})
}

func run(ctx context.Context, parts []string) error {
	wanted := func(part string) bool { return len(parts) == 0 || slices.Contains(parts, part) }
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "sb")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	tar := filepath.Join(dir, "busybox.tar")
	if err := busyboxTar(dir, tar); err != nil {
		return err
	}
	rep := &report{versions: versions(), started: time.Now()}

	runtimesDir := filepath.Join(dir, "runtimes")
	if err := disk(runtimesDir); err != nil {
		return err
	}
	defer unix.Unmount(runtimesDir, unix.MNT_DETACH)
	// crun refuses a hybrid hierarchy; in this mount namespace there is none.
	_ = unix.Unmount("/sys/fs/cgroup/unified", unix.MNT_DETACH)
	if wanted("runtime") {
		if err := rep.runtimes.Measure(os.Stdout, runtimesDir, tar); err != nil {
			return err
		}
	}

	if len(parts) == 1 && parts[0] == "runtime" {
		return nil // it needs no engine
	}
	ours, peer, err := engines(dir, tar)
	defer func() {
		for _, e := range []*engine{ours, peer} {
			if e != nil {
				e.stop()
				_ = unix.Unmount(e.dir, unix.MNT_DETACH)
			}
		}
	}()
	if err != nil {
		return err
	}
	fmt.Println()
	for _, r := range rows() {
		if !wanted("engine") && !selects(parts, r.name) {
			continue
		}
		res, err := measure(ctx, r, []*engine{ours, peer})
		if err != nil {
			return err
		}
		rep.rows = append(rep.rows, res)
		rep.printRow(os.Stdout, res)
	}
	if err := rep.measureLifeRows(ctx, dir, parts, []*engine{ours, peer}); err != nil {
		return err
	}
	if err := rep.measureRemappedRow(ctx, wanted("life") || selects(parts, remappedName), ours); err != nil {
		return err
	}
	if err := rep.measureNetwork(ctx, parts, ours, peer); err != nil {
		return err
	}
	if wanted("dns") {
		if rep.dns, err = measureDNS(ours, peer); err != nil {
			return err
		}
		rep.printDNS(os.Stdout)
	}
	if wanted("memory") {
		if rep.memory, err = measureMemory(ctx, ours, peer); err != nil {
			return err
		}
		rep.printMemory(os.Stdout)
	}
	if wanted("images") {
		if err := rep.measureImages(dir, ours, peer, parts); err != nil {
			return err
		}
	}
	if len(parts) > 0 {
		return nil
	}
	return rep.write("docs/benchmarks.md")
}

// engines starts Sampan and docker.io and gives both the same image.
func engines(dir, tar string) (ours, peer *engine, err error) {
	ours = &engine{name: "sampan", dir: filepath.Join(dir, "s"), cgroup: "sampan-bench", shimName: "sampan-shim"}
	ours.client = []string{"bin/sampan", "-H", "unix://" + ours.dir + "/s.sock"}
	peer = &engine{name: peerName, dir: filepath.Join(dir, "d"), cgroup: "docker-bench", shimName: "containerd-shim"}
	peer.client = []string{"/usr/bin/docker", "-H", "unix://" + peer.dir + "/d.sock"}
	for _, e := range []*engine{ours, peer} {
		if err := disk(e.dir); err != nil {
			return ours, peer, err
		}
		// Both keep their runtime files on a tmpfs, as /run is.
		exec := filepath.Join(e.dir, "exec")
		if err := os.Mkdir(exec, 0o700); err != nil {
			return ours, peer, err
		}
		if err := unix.Mount("bench", exec, "tmpfs", 0, "mode=700"); err != nil {
			return ours, peer, err
		}
	}
	data := func(e *engine) []string {
		return []string{"--data-root", e.dir + "/data", "--exec-root", e.dir + "/exec", "--pidfile", e.dir + "/pid", "-H", e.client[2], "--log-driver", "json-file"}
	}
	if err := ours.start(append([]string{"bin/sampand", "--cgroup-parent", "/sampan-bench"}, data(ours)...)...); err != nil {
		return ours, peer, err
	}
	if err := peer.start(append([]string{"dockerd", "--cgroup-parent", "/docker-bench"}, data(peer)...)...); err != nil {
		return ours, peer, err
	}
	for _, e := range []*engine{ours, peer} {
		if err := e.importImage(tar, image); err != nil {
			return ours, peer, err
		}
	}
	return ours, peer, nil
}

// busyboxTar makes a root file system with a static busybox and its links.
func busyboxTar(dir, out string) error {
	root := filepath.Join(dir, "busybox")
	for _, sub := range []string{"bin", "proc", "sys", "dev", "etc", "tmp", "root"} {
		if err := os.MkdirAll(filepath.Join(root, sub), 0o755); err != nil {
			return err
		}
	}
	src, err := os.Open("/usr/bin/busybox")
	if err != nil {
		return fmt.Errorf("%w (install busybox-static)", err)
	}
	defer src.Close()
	dst, err := os.OpenFile(filepath.Join(root, "bin/busybox"), os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(dst, src); err != nil {
		return err
	}
	if err := dst.Close(); err != nil {
		return err
	}
	for _, name := range []string{"sh", "true", "sleep", "cat", "ls", "echo"} {
		if err := os.Symlink("busybox", filepath.Join(root, "bin", name)); err != nil {
			return err
		}
	}
	if raw, err := exec.Command("tar", "-C", root, "--numeric-owner", "-cf", out, ".").CombinedOutput(); err != nil {
		return fmt.Errorf("tar: %w: %s", err, raw)
	}
	return nil
}

// versions names the kernel and every program compared.
func versions() []string {
	var u unix.Utsname
	_ = unix.Uname(&u)
	all := []string{"Linux " + unix.ByteSliceToString(u.Release[:])}
	for _, argv := range [][]string{{"bin/sampand", "--version"}, {"dockerd", "--version"}, {"runc", "--version"}, {"crun", "--version"}} {
		out, err := exec.Command(argv[0], argv[1:]...).Output()
		if err != nil {
			all = append(all, argv[0]+": "+err.Error())
			continue
		}
		line, _, _ := strings.Cut(string(out), "\n")
		all = append(all, line)
	}
	return all
}
