package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	socket      = "/run/sampan/sampan.sock"
	readyWait   = 10 * time.Second
	commandWait = 60 * time.Second
	// scaleEnv says how many times slower than usual the machine is: the virtual
	// machine of test/vm is emulated.
	scaleEnv = "SAMPAN_TIME_SCALE"
)

// Scale lengthens a bound on time on a slow machine.
func Scale(d time.Duration) time.Duration {
	if n, err := strconv.Atoi(os.Getenv(scaleEnv)); err == nil && n > 1 {
		return d * time.Duration(n)
	}
	return d
}

// Daemon is a running sampand of a test. Its defaults are used as a user would.
type Daemon struct {
	// Program is another build of sampand than the one in bin, for the next start.
	Program string

	t     testing.TB
	flags []string
	cmd   *exec.Cmd
	log   *os.File
}

// Start starts sampand with extra flags, waits until it answers, and takes
// everything of it away when the test ends.
func Start(t testing.TB, flags ...string) *Daemon {
	t.Helper()
	log, err := os.CreateTemp(t.TempDir(), "sampand.log")
	if err != nil {
		t.Fatal(err)
	}
	d := &Daemon{t: t, flags: flags, log: log}
	d.start()
	t.Cleanup(d.finish)
	return d
}

func (d *Daemon) start() {
	d.t.Helper()
	program := d.Program
	if program == "" {
		program = Bin(d.t, "sampand")
	}
	d.cmd = exec.Command(program, d.flags...)
	d.cmd.Stdout, d.cmd.Stderr = d.log, d.log
	if err := d.cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	deadline := time.Now().Add(Scale(readyWait))
	for time.Now().Before(deadline) {
		if conn, err := net.Dial("unix", socket); err == nil {
			conn.Close()
			return
		}
		time.Sleep(2 * time.Millisecond)
	}
	_ = d.cmd.Process.Signal(syscall.SIGQUIT) // for where it stands
	_ = d.cmd.Wait()
	d.cmd = nil
	d.t.Fatalf("sampand is not ready after %v; its log:\n%s", Scale(readyWait), d.Log())
}

// finish removes all containers, ends the daemon and wipes its data.
func (d *Daemon) finish() {
	if d.t.Failed() {
		d.t.Logf("sampand's log:\n%s", d.Log())
	}
	if d.cmd == nil {
		d.start()
	}
	if ids := strings.Fields(d.Sampan("ps", "-aq").Out); len(ids) > 0 {
		if r := d.Sampan(append([]string{"rm", "-fv"}, ids...)...); r.Code != 0 {
			d.t.Errorf("rm -f at the end: %s", r.Err)
		}
	}
	d.Stop()
	wipe(d.t, DataRoot)
	wipe(d.t, "/run/sampan")
	d.log.Close()
}

func wipe(t testing.TB, dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	for _, entry := range entries {
		if err := os.RemoveAll(dir + "/" + entry.Name()); err != nil {
			t.Error(err)
		}
	}
}

// Dead tells whether the daemon has ended by itself.
func (d *Daemon) Dead() bool {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", d.Pid()))
	_, state, _ := strings.Cut(string(raw), ") ")
	return err != nil || strings.HasPrefix(state, "Z")
}

// Pid is the daemon's process id.
func (d *Daemon) Pid() int { return d.cmd.Process.Pid }

// Log is what the daemon has printed so far.
func (d *Daemon) Log() string {
	raw, _ := os.ReadFile(d.log.Name())
	return string(raw)
}

// Kill ends the daemon with SIGKILL.
func (d *Daemon) Kill() {
	d.t.Helper()
	if err := d.cmd.Process.Kill(); err != nil {
		d.t.Fatal(err)
	}
	_ = d.cmd.Wait()
	d.cmd = nil
}

// Stop ends the daemon with SIGTERM and expects a clean exit.
func (d *Daemon) Stop() {
	d.t.Helper()
	if d.cmd == nil {
		return
	}
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	if err := d.cmd.Wait(); err != nil {
		d.t.Errorf("sampand ended with %v; its log:\n%s", err, d.Log())
	}
	d.cmd = nil
}

// Restart starts the daemon again, after Kill or Stop, with the same flags.
func (d *Daemon) Restart(flags ...string) {
	d.t.Helper()
	d.Stop()
	if len(flags) > 0 {
		d.flags = flags
	}
	d.start()
}

// Result is what a command printed and returned.
type Result struct {
	Out, Err string
	Code     int
}

// Run runs a command to its end, with a bound on its time.
func Run(t testing.TB, stdin []byte, argv ...string) Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Scale(commandWait))
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if stdin != nil {
		cmd.Stdin = bytes.NewReader(stdin)
	}
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		t.Fatalf("%q did not end within %v; so far it printed:\n%s%s", argv, Scale(commandWait), out.String(), errOut.String())
	case err != nil && !errors.As(err, &exit):
		t.Fatalf("%q: %v", argv, err)
	}
	return Result{out.String(), errOut.String(), cmd.ProcessState.ExitCode()}
}

// Sampan runs our own client.
func (d *Daemon) Sampan(args ...string) Result {
	d.t.Helper()
	return Run(d.t, nil, append([]string{Bin(d.t, "sampan")}, args...)...)
}

// Docker runs the stock docker client against this daemon.
func (d *Daemon) Docker(args ...string) Result {
	d.t.Helper()
	return Run(d.t, nil, append([]string{"/usr/bin/docker", "-H", "unix://" + socket}, args...)...)
}

// Must returns the standard output of a command that must succeed.
func (r Result) Must(t testing.TB) string {
	t.Helper()
	if r.Code != 0 {
		t.Fatalf("exit %d\nstdout: %s\nstderr: %s", r.Code, r.Out, r.Err)
	}
	return strings.TrimSuffix(r.Out, "\n")
}

// Import makes an image from a tar file.
func (d *Daemon) Import(tar, name string) {
	d.t.Helper()
	d.Sampan("import", tar, name).Must(d.t)
}

// Eventually polls until check returns true, at most for the given time.
func Eventually(t testing.TB, within time.Duration, what string, check func() bool) {
	t.Helper()
	for deadline := time.Now().Add(Scale(within)); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if check() {
			return
		}
	}
	t.Fatalf("not within %v: %s", Scale(within), what)
}
