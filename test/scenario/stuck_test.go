package scenario

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/test/lab"
)

// TestOneStuckContainerDelaysNoOther makes a container stuck in each way that is
// known, asks things of it that cannot be answered, and meanwhile gives every
// command to another one. A command that waits for the stuck one never ends: that,
// and no length of time, is what fails.
func TestOneStuckContainerDelaysNoOther(t *testing.T) {
	d := start(t)
	for _, tc := range []struct {
		name  string
		flags func(t *testing.T, d *lab.Daemon) ([]string, func()) // of the container, and what makes it stuck
		ask   [][]string                                           // what is asked of it meanwhile
	}{
		{"hung file system", hungFileSystem, [][]string{{"exec", "stuck", "ls", "/hung"}, {"cp", "stuck:/hung/x", "-"}, {"exec", "stuck", "cat", "/hung/x"}, {"diff", "stuck"}}},
		{"frozen group", func(t *testing.T, d *lab.Daemon) ([]string, func()) { return nil, func() { freeze(t, d) } },
			[][]string{{"exec", "stuck", "true"}, {"stop", "-t", "30", "stuck"}, {"top", "stuck"}, {"export", "-o", "/dev/null", "stuck"}}},
		{"stopped supervisor", func(t *testing.T, d *lab.Daemon) ([]string, func()) { return nil, func() { stopShim(t, d) } },
			[][]string{{"exec", "stuck", "true"}, {"attach", "--no-stdin", "stuck"}, {"stop", "-t", "1", "stuck"}, {"logs", "-f", "stuck"}, {"stats", "--no-stream", "stuck"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			flags, stick := tc.flags(t, d)
			d.Sampan(append(append([]string{"run", "-d", "--name", "stuck"}, flags...), busybox, "sh", "-c", "echo hi; sleep 100000")...).Must(t)
			d.Sampan("run", "-d", "--name", "other", busybox, "sh", "-c", "echo hi; sleep 100000").Must(t)
			stick()
			var asked []*exec.Cmd
			for _, args := range tc.ask {
				cmd := exec.Command(lab.Bin(t, "sampan"), args...)
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				asked = append(asked, cmd)
			}
			t.Cleanup(func() {
				for _, cmd := range asked {
					_ = cmd.Process.Kill()
					_ = cmd.Wait()
				}
				d.Sampan("rm", "-f", "other")
			})
			time.Sleep(300 * time.Millisecond) // until what was asked has arrived, and hangs
			everything(t, d)
		})
	}
}

// everything gives each command to the other container, and those about all.
func everything(t *testing.T, d *lab.Daemon) {
	t.Helper()
	for _, args := range [][]string{
		{"ps"}, {"ps", "-a", "--no-trunc"}, {"inspect", "stuck"}, {"inspect", "other"}, {"logs", "other"}, {"exec", "other", "true"}, {"top", "other"},
		{"stats", "--no-stream", "other"}, {"diff", "other"}, {"cp", "other:/etc/passwd", "-"}, {"export", "-o", "/dev/null", "other"},
		{"update", "--cpu-shares", "100", "other"}, {"pause", "other"}, {"unpause", "other"}, {"commit", "other", "made"}, {"rename", "other", "other2"},
		{"rename", "other2", "other"}, {"kill", "-s", "WINCH", "other"}, {"restart", "-t", "0", "other"}, {"stop", "-t", "0", "other"}, {"start", "other"},
		{"run", "--rm", busybox, "true"}, {"volume", "ls"}, {"volume", "create", "one"}, {"volume", "rm", "one"}, {"images"}, {"info"},
		{"events", "--since", "1m", "--until", "0s"}, {"container", "prune", "-f"}, {"system", "df"},
	} {
		if r := d.Sampan(args...); r.Code != 0 {
			t.Errorf("%s: exit %d %s", strings.Join(args, " "), r.Code, r.Err)
		}
	}
}

// freeze freezes the container's group behind the daemon's back.
func freeze(t *testing.T, d *lab.Daemon) {
	id := d.Sampan("inspect", "-f", "{{.Id}}", "stuck").Must(t)
	group := "/sys/fs/cgroup/freezer/sampan/" + id
	if err := os.WriteFile(group+"/freezer.state", []byte("FROZEN"), 0o600); err != nil {
		t.Skipf("this machine has no freezer of cgroup v1: %v", err)
	}
	t.Cleanup(func() {
		if err := os.WriteFile(group+"/freezer.state", []byte("THAWED"), 0o600); err != nil && !os.IsNotExist(err) {
			t.Error(err)
		}
		d.Sampan("rm", "-f", "stuck").Must(t)
	})
}

func stopShim(t *testing.T, d *lab.Daemon) {
	pid := d.ShimOf("stuck")
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(pid, syscall.SIGCONT)
		lab.Eventually(t, 20*time.Second, "the stuck container can be removed again", func() bool {
			return d.Sampan("rm", "-f", "stuck").Code == 0
		})
	})
}

// hungFileSystem mounts a FUSE file system that answers until the container runs
// and then never again.
func hungFileSystem(t *testing.T, d *lab.Daemon) ([]string, func()) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "hung")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf("this machine has no FUSE: %v", err)
	}
	options := "fd=" + strconv.Itoa(fd) + ",rootmode=40000,user_id=0,group_id=0,allow_other"
	if err := unix.Mount("hung", dir, "fuse", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		t.Fatal(err)
	}
	var hung atomic.Bool
	go serveFuse(fd, &hung)
	t.Cleanup(func() {
		// The end of the connection wakes whoever waits for it.
		_ = unix.Unmount(dir, unix.MNT_FORCE|unix.MNT_DETACH)
		_ = unix.Close(fd)
		d.Sampan("rm", "-f", "stuck").Must(t)
	})
	return []string{"-v", dir + ":/hung"}, func() { hung.Store(true) }
}

// The requests of <linux/fuse.h> that are answered.
const (
	fuseGetattr = 3
	fuseInit    = 26
)

func serveFuse(fd int, hung *atomic.Bool) {
	buf := make([]byte, 1<<18)
	for {
		n, err := unix.Read(fd, buf)
		if err == unix.EINTR || err == unix.ENOENT {
			continue
		}
		if err != nil || n < 40 {
			return
		}
		opcode, unique := binary.LittleEndian.Uint32(buf[4:]), binary.LittleEndian.Uint64(buf[8:])
		if hung.Load() {
			continue
		}
		var body []byte
		var status int32
		switch opcode {
		case fuseInit:
			body = make([]byte, 64)
			binary.LittleEndian.PutUint32(body[0:], 7)
			binary.LittleEndian.PutUint32(body[4:], 31)
			binary.LittleEndian.PutUint32(body[20:], 1<<16) // max_write
		case fuseGetattr:
			body = make([]byte, 16+88) // attr_valid 0: asked for again each time
			binary.LittleEndian.PutUint64(body[16:], 1)
			binary.LittleEndian.PutUint32(body[16+60:], 0o40755)
			binary.LittleEndian.PutUint32(body[16+64:], 2)
		default:
			status = -int32(unix.ENOSYS)
		}
		out := make([]byte, 16, 16+len(body))
		binary.LittleEndian.PutUint32(out[0:], uint32(16+len(body)))
		binary.LittleEndian.PutUint32(out[4:], uint32(status))
		binary.LittleEndian.PutUint64(out[8:], unique)
		_, _ = unix.Write(fd, append(out, body...))
	}
}
