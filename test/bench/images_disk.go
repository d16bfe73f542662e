package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/test/bench/clock"
)

// lean is Sampan with --keep-blobs=false: what its disk holds beside the files after
// a pull, and what its pulls and pushes take.
type lean struct {
	kept, dropped float64 // disk after a pull, as a ratio to the files
	pull, push    time.Duration
}

// diskShare is what the image store takes, as a ratio to the files in it.
func diskShare(data string) (float64, error) {
	files, err := filepath.Glob(filepath.Join(data, "layers/sha256/*/fs"))
	if err != nil {
		return 0, err
	}
	inFiles, err := diskUse(files...)
	if err != nil {
		return 0, err
	}
	all, err := diskUse(filepath.Join(data, "layers"), filepath.Join(data, "blobs"))
	return float64(all) / float64(inFiles), err
}

// diskUse is in KiB, as du counts them.
func diskUse(paths ...string) (sum int, err error) {
	out, err := exec.Command("du", append([]string{"-sk"}, paths...)...).Output()
	if err != nil {
		return 0, fmt.Errorf("du: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		n, err := strconv.Atoi(strings.Fields(line)[0])
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// measureLean pulls and pushes with a daemon that keeps no compressed layers.
func measureLean(dir, storage string, keeping *shipper) (l lean, err error) {
	if err := keeping.do("pull", "-q", bigImage); err != nil {
		return l, err
	}
	unix.Sync()
	if l.kept, err = diskShare(keeping.dir + "/data"); err != nil {
		return l, err
	}
	e := &engine{name: "sampan", dir: filepath.Join(dir, "n"), cgroup: "sampan-bench", shimName: "sampan-shim"}
	e.client = []string{"bin/sampan", "-H", "unix://" + e.dir + "/s.sock"}
	if err := disk(e.dir); err != nil {
		return l, err
	}
	defer unix.Unmount(e.dir, unix.MNT_DETACH)
	if err := os.Mkdir(e.dir+"/exec", 0o700); err != nil {
		return l, err
	}
	defer e.stop()
	if err := e.start("bin/sampand", "--cgroup-parent", "/sampan-bench", "--keep-blobs=false", "--bridge", "none", "--data-root", e.dir+"/data", "--exec-root", e.dir+"/exec", "--pidfile", e.dir+"/pid", "-H", e.client[2]); err != nil {
		return l, err
	}
	s := &shipper{name: "sampan", dir: e.dir, pid: e.daemon.Process.Pid, daemon: true, empty: e.dir + ".empty",
		argv: func(args ...string) []string { return append(append([]string{}, e.client...), args...) }}
	defer s.stop()
	if err := os.MkdirAll(s.empty, 0o700); err != nil {
		return l, err
	}
	if err := s.registry(storage, 5000); err != nil {
		return l, err
	}
	if err := s.registry(s.empty, 5001); err != nil {
		return l, err
	}
	var pulls, pushes []time.Duration
	for range imageRounds {
		_ = s.do("rmi", "-f", bigImage, pushTo)
		s.settle()
		wall, _, err := s.timed("pull", "-q", bigImage)
		if err != nil {
			return l, err
		}
		pulls = append(pulls, wall)
		unix.Sync()
		if l.dropped, err = diskShare(e.dir + "/data"); err != nil {
			return l, err
		}
		if err := s.do("tag", bigImage, pushTo); err != nil {
			return l, err
		}
		if err := os.RemoveAll(filepath.Join(s.empty, "docker")); err != nil {
			return l, err
		}
		if wall, _, err = s.timed("push", pushTo); err != nil {
			return l, err
		}
		pushes = append(pushes, wall)
	}
	l.pull, l.push = clock.Median(pulls), clock.Median(pushes)
	return l, nil
}

func (l lean) String() string {
	return fmt.Sprintf("Disk after the pull of 500 MB, as a ratio to the files: %.3f with the compressed layers kept, %.3f with `--keep-blobs=false`; the pull takes %.2f s then, and the push, which passes the layers on from the registry they came from, %.2f s.", l.kept, l.dropped, l.pull.Seconds(), l.push.Seconds())
}
