package inroot

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// swap exchanges two names as fast as it can until the test ends: the attacker of
// CVE-2021-30465 and CVE-2018-15664.
func swap(t *testing.T, dir, a, b string) {
	t.Helper()
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	must(t, err)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				_ = unix.Renameat2(fd, a, fd, b, unix.RENAME_EXCHANGE)
			}
		}
	})
	t.Cleanup(func() { close(stop); wg.Wait(); unix.Close(fd) })
}

func TestSwapRace(t *testing.T) {
	r, dir, outside := tree(t)
	must(t, os.MkdirAll(dir+"/vol/real", 0o755))
	must(t, os.WriteFile(dir+"/vol/real/secret", []byte("decoy"), 0o644))
	must(t, os.Symlink(outside, dir+"/vol/evil"))
	swap(t, dir+"/vol", "real", "evil")
	const rounds = 500
	reached := 0
	for i := range rounds {
		name := "vol/real/n" + strconv.Itoa(i)
		data, err := r.ReadFile("vol/real/secret", 100)
		switch {
		case err == nil && string(data) == "decoy":
			reached++
		case err == nil:
			t.Fatalf("read %q from outside the root", data)
		}
		if f, err := r.MkdirAll(name+"/deep", 0o755); err == nil {
			f.Close()
		}
		_ = r.WriteFile("vol/real/w"+strconv.Itoa(i), []byte("x"), 0o644)
		_ = r.Chmod("vol/real/secret", 0o666)
		_ = r.Lchown("vol/real/secret", 1000, 1000)
		_ = r.Rename("vol/real/secret", "vol/real/s2")
		_ = r.Rename("vol/real/s2", "vol/real/secret")
		_ = r.RemoveAll(name)
	}
	if reached == 0 {
		t.Error("the loop never reached the real directory: the race was not one")
	}
	untouched(t, outside)
}

func TestRemoveAllRace(t *testing.T) {
	r, dir, outside := tree(t)
	gone := 0
	for i := range 100 {
		sub := filepath.Join(dir, "victim", strconv.Itoa(i))
		must(t, os.MkdirAll(sub+"/x/y", 0o755))
		must(t, os.Symlink(outside, sub+"/z"))
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			swap(t, sub, "x", "z")
			if err := r.RemoveAll("victim/" + strconv.Itoa(i)); err == nil {
				gone++
			}
		})
	}
	if gone == 0 {
		t.Error("no tree was removed under the race")
	}
	untouched(t, outside)
}

// A tree that changes for ever gives an error, not an endless loop.
func TestUnstable(t *testing.T) {
	if !errors.Is(failed("open", "x", errUnstable), unix.EAGAIN) {
		t.Error("errUnstable does not match EAGAIN")
	}
}
