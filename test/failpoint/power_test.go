//go:build failpoints

package failpoint

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/image"
	"github.com/sampan-containers/sampan/image/archive"
	"github.com/sampan-containers/sampan/test/counts"
)

// A power cut, without a machine to cut: the store lies on an ext4 whose disk is a
// file on a btrfs, and a snapshot of that file is what the disk had at one moment:
// what the kernel had not written yet is lost, as with a real cut. Images come and go
// all the time; in every snapshot each image that was acknowledged before it is
// there and whole, and what is removed leaves nothing.
func TestPowerCuts(t *testing.T) {
	for _, program := range []string{"btrfs", "mkfs.btrfs"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("skipped: %s is not installed", program)
		}
	}
	dir := t.TempDir()
	host, live, after := filepath.Join(dir, "host"), filepath.Join(dir, "live"), filepath.Join(dir, "after")
	command(t, "mkdir", host, live, after)
	command(t, "truncate", "-s", "2G", dir+"/btrfs")
	command(t, "mkfs.btrfs", "-q", dir+"/btrfs")
	mount(t, dir+"/btrfs", host)
	command(t, "btrfs", "-q", "subvolume", "create", host+"/now")
	command(t, "truncate", "-s", "256M", host+"/now/disk")
	command(t, "mkfs.ext4", "-q", "-F", host+"/now/disk")
	mount(t, host+"/now/disk", live)

	e := reopen(t, live)
	w := &worker{t: t, e: e, stop: make(chan struct{})}
	w.done.Go(w.run)
	defer func() {
		close(w.stop)
		w.done.Wait()
		if err := e.close(); err != nil {
			t.Error(err)
		}
	}()
	for i := range counts.Of("power.cut") {
		time.Sleep(time.Duration(7+13*i%50) * time.Millisecond)
		there := w.acknowledged()
		shot := fmt.Sprintf("%s/cut%d", host, i)
		command(t, "btrfs", "-q", "subvolume", "snapshot", host+"/now", shot)
		t.Run(fmt.Sprint("cut ", i), func(t *testing.T) { afterCut(t, shot+"/disk", after, there) })
		command(t, "btrfs", "-q", "subvolume", "delete", shot)
	}
	if n := w.acknowledged(); len(n) == 0 {
		t.Error("nothing was acknowledged meanwhile")
	}
}

func command(t *testing.T, argv ...string) {
	t.Helper()
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", argv, err, out)
	}
}

func mount(t *testing.T, disk, at string) {
	t.Helper()
	command(t, "mount", "-o", "loop", disk, at)
	t.Cleanup(func() {
		// A loop device that lies on it goes a moment after its own unmount.
		err := unix.Unmount(at, 0)
		for deadline := time.Now().Add(10 * time.Second); err == unix.EBUSY && time.Now().Before(deadline); {
			time.Sleep(20 * time.Millisecond)
			err = unix.Unmount(at, 0)
		}
		if err != nil {
			t.Errorf("unmount %s: %v", at, err)
			_ = unix.Unmount(at, unix.MNT_DETACH)
		}
	})
}

// afterCut starts on what a cut left.
func afterCut(t *testing.T, disk, at string, there []string) {
	mount(t, disk, at)
	e := reopen(t, at)
	for _, name := range there {
		if _, err := e.images.Get(t.Context(), name); err != nil {
			t.Errorf("%s, which was acknowledged, is lost: %v", name, err)
		}
	}
	whole(t, e, "after the cut")
	if err := works[1].do(t.Context(), e); err != nil {
		t.Errorf("a load: %v", err)
	}
	if _, err := e.images.Prune(t.Context(), image.PruneOptions{Unused: true}); err != nil {
		t.Error(err)
	}
	if err := e.close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range files(t, at) {
		if name != "lost+found" {
			t.Errorf("left over: %s", name)
		}
	}
}

// worker loads, imports, commits and removes until it is stopped.
type worker struct {
	t    *testing.T
	e    *engine
	stop chan struct{}
	done sync.WaitGroup

	mu    sync.Mutex
	there []string // acknowledged, and not about to be removed
}

func (w *worker) acknowledged() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.there...)
}

func (w *worker) run() {
	ctx := context.Background()
	for i := 0; ; i++ {
		select {
		case <-w.stop:
			return
		default:
		}
		name := fmt.Sprintf("image%d", i)
		err := w.e.archives.Load(ctx, bytes.NewReader(layout(name)), archive.LoadOptions{Quiet: true}, io.Discard)
		if err == nil {
			w.add(name + ":1")
			_, err = w.e.images.Import(ctx, bytes.NewReader(layerTar(name)), image.ImportOptions{Reference: "imported:1"}, io.Discard)
		}
		if err == nil && i > 0 {
			old := fmt.Sprintf("image%d:1", i-1)
			w.remove(old)
			_, err = w.e.images.Delete(ctx, old, false, true)
		}
		if err != nil {
			w.t.Error(err)
			return
		}
	}
}

func (w *worker) add(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.there = append(w.there, name)
}

func (w *worker) remove(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, n := range w.there {
		if n == name {
			w.there = append(w.there[:i], w.there[i+1:]...)
			return
		}
	}
}
