package scenario

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sampan-containers/sampan/test/lab"
)

const mib = 1 << 20

// 100 MB go in through stdin, and come back through stdout, unchanged.
func TestHundredMegabytesUnchanged(t *testing.T) {
	start(t)
	data := make([]byte, 100*mib)
	source := rand.NewChaCha8([32]byte{1})
	_, _ = source.Read(data)
	sum := sha256.Sum256(data)
	want := hex.EncodeToString(sum[:])
	for _, argv := range [][]string{{lab.Bin(t, "sampan")}, {"/usr/bin/docker", "-H", "unix:///run/sampan/sampan.sock"}} {
		t.Run(filepath.Base(argv[0]), func(t *testing.T) {
			r := lab.Run(t, data, append(argv, "run", "--rm", "-i", busybox, "sha256sum")...)
			if got, _, _ := strings.Cut(r.Out, " "); got != want {
				t.Errorf("in: exit %d, sum %q, want %s; stderr %q", r.Code, got, want, r.Err)
			}
			r = lab.Run(t, data, append(argv, "run", "--rm", "-i", "--log-driver", "none", busybox, "cat")...)
			if r.Code != 0 || !bytes.Equal([]byte(r.Out), data) {
				t.Errorf("back: exit %d, %d bytes of %d; stderr %q", r.Code, len(r.Out), len(data), r.Err)
			}
		})
	}
}

// A container that floods its output neither fills the disk nor memory.
func TestFloodedOutputStaysBounded(t *testing.T) {
	d := start(t, "--log-opt", "max-size=1m", "--log-opt", "max-file=3")
	d.Sampan("run", "-d", "--name", "flood", busybox, "yes").Must(t)
	shim := d.ShimOf("flood")
	time.Sleep(time.Second)
	before := rss(t, shim) + rss(t, d.Pid())
	time.Sleep(4 * time.Second)
	if after := rss(t, shim) + rss(t, d.Pid()); after > before+4*mib {
		t.Errorf("daemon and shim grew from %d to %d bytes", before, after)
	}
	d.Sampan("kill", "flood").Must(t)
	d.Sampan("wait", "flood").Must(t)
	logPath := d.Sampan("inspect", "-f", "{{.LogPath}}", "flood").Must(t)
	files, _ := filepath.Glob(logPath + "*")
	var total int64
	for _, file := range files {
		if info, err := os.Stat(file); err == nil {
			total += info.Size()
		}
	}
	if len(files) != 3 || total > 4*mib {
		t.Errorf("%d log files with %d bytes; want 3 files of at most 1 MB", len(files), total)
	}
	if r := d.Sampan("logs", "--tail", "2", "flood"); r.Must(t) != "y\ny" {
		t.Errorf("logs --tail 2 = %q", r.Out)
	}
}

func rss(t *testing.T, pid int) int {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(raw))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}
