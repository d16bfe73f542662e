package server

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A signal for the shim's process group leaves shim and container alone, and the
// container's processes have the default dispositions.
func TestSignalsForTheShim(t *testing.T) {
	r := realContainer(t, realRoot(t), "sh", "-c", "busybox grep -E 'Sig(Blk|Ign)' /proc/self/status; exec sleep 1000")
	r.mustBegin(newSpawner(t))
	for _, n := range []unix.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT} {
		if err := unix.Kill(r.shim.ShimPid(), n); err != nil {
			t.Fatal(err)
		}
		if err := unix.Kill(-r.shim.ShimPid(), n); err != nil {
			t.Fatalf("the shim leads no process group: %v", err)
		}
	}
	for out := ""; !strings.Contains(out, "SigIgn"); out, _ = r.logged() {
		time.Sleep(time.Millisecond)
	}
	if err := r.shim.Signal(t.Context(), unix.SIGKILL); err != nil {
		t.Fatal(err) // no shim is left to answer
	}
	if rec := r.wait(); rec.Signal != int(unix.SIGKILL) {
		t.Errorf("exit = %+v", rec)
	}
	out, _ := r.logged()
	if want := strings.Repeat("0", 16); out != "SigBlk:\t"+want+"\nSigIgn:\t"+want+"\n" {
		t.Errorf("in the container: %q", out)
	}
}
