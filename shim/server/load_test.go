package server

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/shim/handle"
)

const bulk = 100_000_000

// pattern is 100 MB that no shift of a part leaves unchanged.
type pattern struct{ n, left int }

func (p *pattern) Read(b []byte) (int, error) {
	if p.left == 0 {
		return 0, io.EOF
	}
	b = b[:min(len(b), p.left)]
	for i := range b {
		b[i] = byte(p.n * 2654435761 >> 13)
		p.n++
	}
	p.left -= len(b)
	return len(b), nil
}

func TestBulkThrough(t *testing.T) {
	s := newSpawner(t)
	want := sha256.New()
	io.Copy(want, &pattern{left: bulk})
	t.Run("in and out", func(t *testing.T) {
		r := plain(t, "cat")
		r.start.Config.OpenStdin, r.start.Config.StdinOnce = true, true
		r.start.Config.Log.Driver = "none"
		c := r.attach(handle.Attach{Stdin: true, Stdout: true})
		r.mustBegin(s)
		go func() {
			io.Copy(c, &pattern{left: bulk})
			c.CloseWrite()
		}()
		got := sha256.New()
		n, err := io.Copy(got, c)
		if err != nil || n != bulk || string(got.Sum(nil)) != string(want.Sum(nil)) {
			t.Errorf("%d bytes came back, changed or not: %v", n, err)
		}
	})
	t.Run("out to a client that pauses and is slow", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "data")
		f, err := os.Create(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(f, &pattern{left: bulk}); err != nil {
			t.Fatal(err)
		}
		f.Close()
		r := plain(t, "cat", file)
		r.start.Config.Log.Driver = "none"
		c := r.attach(handle.Attach{Stdout: true, Stderr: true, Mux: true})
		r.mustBegin(s)
		time.Sleep(500 * time.Millisecond) // longer than spillAfter
		got := sha256.New()
		total, head := 0, make([]byte, 8)
		for {
			if _, err := io.ReadFull(c, head); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			n := int(head[4])<<24 | int(head[5])<<16 | int(head[6])<<8 | int(head[7])
			if _, err := io.CopyN(got, c, int64(n)); err != nil {
				t.Fatal(err)
			}
			total += n
		}
		if total != bulk || string(got.Sum(nil)) != string(want.Sum(nil)) {
			t.Errorf("%d bytes arrived, or they were changed", total)
		}
	})
}

// memory is the shim's private dirty memory in kB; 0 once it has ended.
func (r *rig) memory() int { return r.smaps("Private_Dirty:") }

// smaps is one sum of the shim's memory in kB.
func (r *rig) smaps(field string) int {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", r.shim.ShimPid()))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(raw)) {
		if f := strings.Fields(line); f[0] == field {
			n, _ := strconv.Atoi(f[1])
			return n
		}
	}
	r.t.Fatalf("no %s in smaps_rollup", field)
	return 0
}

// maxGrowth bounds, in kB, what load may add to a shim's memory: the collector
// starts at 1 MB of heap and needs about as much itself. The absolute figures are
// held on the real binary, since this one has package testing in it.
const maxGrowth = 3500

func (r *rig) mustNotGrow(before int) {
	r.t.Helper()
	if m := r.memory(); m > before+maxGrowth && !underRace {
		r.t.Errorf("private dirty = %d kB, %d before the load; the limit of growth is %d", m, before, maxGrowth)
	}
}

func TestYesIsFlat(t *testing.T) {
	s := newSpawner(t)
	for _, attached := range []bool{false, true} {
		t.Run(fmt.Sprintf("attached=%v", attached), func(t *testing.T) {
			r := plain(t, "yes")
			r.start.Config.Log.MaxSize, r.start.Config.Log.MaxFiles = 5_000_000, 3
			if attached {
				c := r.attach(handle.Attach{Stdout: true})
				c.SetDeadline(time.Time{})
				go io.Copy(io.Discard, c)
			}
			r.mustBegin(s)
			before := r.memory()
			for range 10 {
				time.Sleep(100 * time.Millisecond)
				r.mustNotGrow(before)
			}
			if err := r.shim.Signal(ctx(t), unix.SIGKILL); err != nil {
				t.Fatal(err)
			}
			r.wait()
			files, err := filepath.Glob(r.start.Config.Log.Path + "*")
			if err != nil || len(files) != 3 {
				t.Errorf("log files = %v, %v, want 3", files, err)
			}
			for _, f := range files {
				if info, err := os.Stat(f); err == nil && info.Size() > 5_000_000 {
					t.Errorf("%s has %d bytes", f, info.Size())
				}
			}
		})
	}
}

// A client that never reads must cost the application nothing: it writes more
// than any buffer in memory holds and ends, while the client sleeps.
func TestStalledClient(t *testing.T) {
	s := newSpawner(t)
	r := plain(t, "sh", "-c", "head -c 50000000 /dev/zero; echo end >&2")
	r.start.Config.Log.Driver = "none"
	c := r.attach(handle.Attach{Stdout: true})
	other := r.attach(handle.Attach{Stderr: true})
	r.mustBegin(s)
	before := r.memory()
	if got := readAll(t, other); string(got) != "end\n" {
		t.Errorf("the other client got %q", got)
	}
	r.wait()
	r.mustNotGrow(before)
	// It wakes up late, and still gets everything.
	if n, err := io.Copy(io.Discard, c); err != nil || n != 50_000_000 {
		t.Errorf("the late client got %d bytes, %v", n, err)
	}
}

// With its share of the disk used up, a client that does not read is cut off; one
// that reads slowly, but reads, slows the application down and gets everything.
func TestCutOff(t *testing.T) {
	s := newSpawner(t)
	const size = 8_000_000
	start := func(t *testing.T) (r *rig, c, end *net.UnixConn) {
		r = plain(t, "sh", "-c", fmt.Sprintf("head -c %d /dev/zero; echo end >&2", size))
		r.start.Config.ID = "plain-impatient-" + filepath.Base(r.dir)
		r.start.Config.Log.Driver = "none"
		c = r.attach(handle.Attach{Stdout: true})
		end = r.attach(handle.Attach{Stderr: true})
		r.mustBegin(s)
		return r, c, end
	}
	t.Run("not reading", func(t *testing.T) {
		r, c, end := start(t)
		if got := readAll(t, end); string(got) != "end\n" {
			t.Errorf("the other client got %q", got)
		}
		r.wait()
		if n, err := io.Copy(io.Discard, c); n == size {
			t.Errorf("the client that did not read got all %d bytes, %v", n, err)
		}
	})
	t.Run("slow", func(t *testing.T) {
		r, c, _ := start(t)
		buf, n := make([]byte, 128<<10), 0
		for {
			m, err := c.Read(buf)
			if n += m; errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Millisecond)
		}
		if n != size {
			t.Errorf("%d bytes arrived of %d", n, size)
		}
		r.wait()
	})
}

// mustEnd waits for the end of a process.
func mustEnd(t *testing.T, pidfd int) {
	t.Helper()
	p := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	for deadline := time.Now().Add(within); ; {
		n, err := unix.Poll(p, int(time.Until(deadline).Milliseconds()))
		if n == 1 {
			return
		}
		if err != unix.EINTR {
			t.Fatalf("the container's process outlives its shim: %v", err)
		}
	}
}

func TestKilledShim(t *testing.T) {
	s := newSpawner(t)
	r := plain(t, "sleep", "1000")
	r.mustBegin(s)
	pidfd, err := unix.PidfdOpen(r.shim.Pid(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pidfd)
	if err := unix.Kill(r.shim.ShimPid(), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-r.shim.Done()
	if _, err := r.shim.Exit(); !errors.Is(err, handle.ErrLost) {
		t.Errorf("Exit = %v, want ErrLost", err)
	}
	mustEnd(t, pidfd)
	if _, err := handle.Connect(ctx(t), r.start.Config.RunDir); !errors.Is(err, fault.NotFound) {
		t.Errorf("Connect = %v", err)
	}
}

func TestStoppedShimHoldsUpItsOwnCallers(t *testing.T) {
	s := newSpawner(t)
	r := plain(t, "sleep", "1000")
	r.mustBegin(s)
	if err := unix.Kill(r.shim.ShimPid(), unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		c, cancel := contextIn(50 * time.Millisecond)
		if _, err := r.shim.ExecState(c, "x"); !errors.Is(err, fault.Deadline) {
			t.Errorf("a call to a stopped shim = %v", err)
		}
		cancel()
		c, cancel = contextIn(50 * time.Millisecond)
		if _, err := handle.Connect(c, r.start.Config.RunDir); !errors.Is(err, fault.Deadline) {
			t.Errorf("Connect to a stopped shim = %v", err)
		}
		cancel()
	}
	if err := unix.Kill(r.shim.ShimPid(), unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if _, err := r.shim.ExecState(ctx(t), "x"); !errors.Is(err, handle.ErrNoSuchExec) {
		t.Errorf("after SIGCONT: %v", err)
	}
}

// Clients and resizes come and go (CVE-2022-31030, CVE-2022-23471): nothing of
// them may stay.
func TestChurn(t *testing.T) {
	s := newSpawner(t)
	r := plain(t, "sleep", "1000")
	r.start.Config.Terminal, r.start.Config.OpenStdin = true, true
	r.mustBegin(s)
	fds := func() int {
		list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", r.shim.ShimPid()))
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	base, before := fds(), r.memory()
	for i := range 1000 {
		mine, theirs := socketPair(t)
		if err := r.shim.Attach(ctx(t), handle.Attach{Conn: theirs, Stdin: true, Stdout: true}); err != nil {
			t.Fatal(err)
		}
		mine.Close()
		if err := r.shim.Resize(ctx(t), uint32(i), uint32(i)); err != nil {
			t.Fatal(err)
		}
	}
	yes := &specs.Process{Args: []string{"yes"}, Env: os.Environ()}
	if _, err := r.shim.Exec(ctx(t), handle.ExecRequest{ID: "yes", Process: yes}); err != nil {
		t.Fatal(err)
	}
	for range 200 {
		id := "x" + strconv.FormatInt(time.Now().UnixNano(), 36)
		if _, err := r.shim.Exec(ctx(t), handle.ExecRequest{ID: id, Process: &specs.Process{Args: []string{"true"}, Env: os.Environ()}}); err != nil {
			t.Fatal(err)
		}
		if st, err := r.shim.ExecWait(ctx(t), id); err != nil || st.ExitCode != 0 {
			t.Fatalf("%+v, %v", st, err)
		}
	}
	deadline := time.Now().Add(within)
	for fds() > base+5 { // the unread exec has a pidfd and two pipes
		if time.Now().After(deadline) {
			t.Fatalf("%d descriptors, %d before", fds(), base)
		}
		time.Sleep(10 * time.Millisecond)
	}
	r.mustNotGrow(before)
}

// Clients that have left are let go while requests keep coming, each of which is
// there before the one before it is answered.
func TestRequestsInARow(t *testing.T) {
	s := newSpawner(t)
	r := plain(t, "sleep", "1000")
	r.start.Config.OpenStdin = true
	r.mustBegin(s)
	if err := unix.Kill(r.shim.ShimPid(), unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	const many = 2 * maxClients
	errs := make(chan error, many)
	for range many {
		mine, theirs := socketPair(t)
		mine.Close()
		go func() { errs <- r.shim.Attach(ctx(t), handle.Attach{Conn: theirs, Stdin: true, Stdout: true}) }()
	}
	time.Sleep(100 * time.Millisecond) // until the requests fill the connection
	if err := unix.Kill(r.shim.ShimPid(), unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	for range many {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
}

// More than one frame's worth of descriptors: a published range of ports.
func TestManyPorts(t *testing.T) {
	s := newSpawner(t)
	r := plain(t, "sleep", "1000")
	const n = 500
	for i := range n {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		f := os.NewFile(uintptr(fd), "port")
		defer f.Close()
		r.start.Config.Ports = append(r.start.Config.Ports, wirePort(i))
		r.start.PortSockets = append(r.start.PortSockets, f)
	}
	r.mustBegin(s)
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", r.shim.ShimPid()))
	if err != nil || len(list) < n {
		t.Errorf("the shim holds %d descriptors, %v", len(list), err)
	}
}

func sha(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// A spliced port: the shim accepts and copies both ways, with half-closes.
func TestSplice(t *testing.T) {
	s := newSpawner(t)
	server, port := listenLoopback(t, "127.0.0.1")
	go func() {
		for {
			c, err := server.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				raw, _ := io.ReadAll(c)
				fmt.Fprintf(c, "%d %s", len(raw), sha(raw))
			}()
		}
	}()
	socket, public := boundSocket(t)
	r := plain(t, "sleep", "1000")
	r.start.Config.Ports = append(r.start.Config.Ports, splicePort(public, port))
	r.start.PortSockets = append(r.start.PortSockets, socket)
	r.mustBegin(s)
	data, err := io.ReadAll(&pattern{left: 3_000_000})
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		c := dialLoopback(t, public)
		go func() {
			c.Write(data)
			c.CloseWrite()
		}()
		if got, want := string(readAll(t, c)), fmt.Sprintf("%d %s", len(data), sha(data)); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
		c.Close()
	}
	udp := plain(t, "sleep", "1000")
	p := splicePort(public, port)
	p.Proto = "udp"
	udp.start.Config.Ports = append(udp.start.Config.Ports, p)
	udp.start.PortSockets = append(udp.start.PortSockets, socket)
	if err := udp.begin(s); err == nil || !strings.Contains(err.Error(), "only tcp") {
		t.Errorf("udp on [::1]: %v", err)
	}
}

func TestHelpersExist(t *testing.T) {
	for _, name := range []string{"sh", "cat", "yes", "sleep", "head", "stty"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Fatal(err)
		}
	}
}
