package shell

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is a command that the shell started.
type process struct {
	cmd     *exec.Cmd
	job     *job
	stopped bool
}

// job is a process group: a pipeline or a background command.
type job struct {
	id         int // as in %1
	background int // the interpreter's number, as in $! = g1; 0 for a foreground job
	group      int // 0 until its first process runs, and without job control
	text       string
	live       []*process
	stopped    bool
	told       bool
}

// jobs starts processes in groups and hands the terminal over. Without a
// terminal everything stays in the shell's own group.
type jobs struct {
	control bool
	tty     *os.File
	own     int // the shell's group

	mu         sync.Mutex
	foreground *job
	list       []*job
}

// newJobs takes the terminal for the shell if control is asked for and there
// is one that it may control.
func newJobs(control bool) *jobs {
	j := &jobs{own: unix.Getpgrp()}
	if !control {
		return j
	}
	group, err := unix.IoctlGetInt(int(os.Stdin.Fd()), unix.TIOCGPGRP)
	if err != nil || group != j.own {
		return j // no controlling terminal, or we run in its background
	}
	j.control, j.tty = true, os.Stdin
	return j
}

// begin makes the job that the commands of one line belong to.
func (j *jobs) begin(text string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.foreground = &job{text: text}
}

// restore takes the terminal back.
func (j *jobs) restore() {
	if j.control {
		giveTerminal(j.tty, j.own)
	}
}

// giveTerminal makes group the terminal's foreground group. A background group
// that does so gets SIGTTOU unless it blocks it; ignoring it would be inherited
// by every command.
func giveTerminal(tty *os.File, group int) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var set, old unix.Sigset_t
	set.Val[0] = 1 << (unix.SIGTTOU - 1)
	if unix.PthreadSigmask(unix.SIG_BLOCK, &set, &old) != nil {
		return
	}
	_ = unix.IoctlSetPointerInt(int(tty.Fd()), unix.TIOCSPGRP, group) // the group may be gone
	_ = unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil)
}

// find returns the job of a background number, making it on first use.
func (j *jobs) find(background int, text string) *job {
	if background == 0 {
		if j.foreground == nil {
			j.foreground = &job{text: text}
		}
		return j.foreground
	}
	for _, have := range j.list {
		if have.background == background {
			return have
		}
	}
	made := &job{background: background, text: text}
	j.add(made)
	return made
}

func (j *jobs) add(made *job) {
	for _, have := range j.list {
		made.id = max(made.id, have.id)
	}
	made.id++
	j.list = append(j.list, made)
}

// start runs a command in its job's group.
func (j *jobs) start(cmd *exec.Cmd, background int, text string) (*process, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	owner := j.find(background, text)
	p := &process{cmd: cmd, job: owner}
	if j.control {
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pgid: owner.group}
		if background == 0 && owner.group == 0 {
			cmd.SysProcAttr.Foreground = true
			cmd.SysProcAttr.Ctty = int(j.tty.Fd())
		}
	}
	err := cmd.Start()
	if errors.Is(err, unix.EPERM) && j.control && owner.group != 0 {
		// The group's last process ended meanwhile: begin a new one.
		owner.group = 0
		again := exec.Cmd{Path: cmd.Path, Args: cmd.Args, Env: cmd.Env, Dir: cmd.Dir, Stdin: cmd.Stdin, Stdout: cmd.Stdout, Stderr: cmd.Stderr}
		again.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Foreground: background == 0, Ctty: int(j.tty.Fd())}
		*cmd = again
		err = cmd.Start()
	}
	if err != nil {
		return nil, err
	}
	if j.control && owner.group == 0 {
		owner.group = cmd.Process.Pid
	}
	owner.live = append(owner.live, p)
	return p, nil
}

// errStopped tells that a process was stopped (Ctrl-Z) instead of ending.
var errStopped = errors.New("stopped")

// wait returns when the process has ended, or was stopped at a terminal.
func (j *jobs) wait(p *process) error {
	for j.control {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PID, p.cmd.Process.Pid, &info, unix.WEXITED|unix.WSTOPPED|unix.WNOWAIT, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		const stopped = 5 // CLD_STOPPED
		if err == nil && info.Code == stopped {
			if p.job.background != 0 {
				// Stopped for the terminal's sake; it waits for fg.
				p.job.stopped = true
				time.Sleep(50 * time.Millisecond)
				continue
			}
			j.stop(p)
			return errStopped
		}
		break
	}
	err := p.cmd.Wait()
	j.mu.Lock()
	defer j.mu.Unlock()
	j.ended(p)
	return err
}

// ended takes a process out of its job; the caller holds mu.
func (j *jobs) ended(p *process) {
	p.job.live = slices.DeleteFunc(p.job.live, func(have *process) bool { return have == p })
	if len(p.job.live) > 0 {
		return
	}
	p.job.stopped = false
	if p.job == j.foreground && j.control {
		p.job.group = 0
		giveTerminal(j.tty, j.own)
	}
}

// stop lists the foreground job as stopped.
func (j *jobs) stop(p *process) {
	j.mu.Lock()
	defer j.mu.Unlock()
	p.stopped = true
	if p.job.stopped {
		return
	}
	p.job.stopped = true
	if p.job.id == 0 {
		j.add(p.job)
	}
	fmt.Fprintf(os.Stderr, "\n[%d]+  Stopped                 %s\n", p.job.id, p.job.text)
	giveTerminal(j.tty, j.own)
}

// report tells about background jobs that have ended, and forgets them.
func (j *jobs) report(w io.Writer, all bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.list = slices.DeleteFunc(j.list, func(have *job) bool {
		state := "Running"
		switch {
		case len(have.live) == 0:
			state = "Done"
		case have.stopped:
			state = "Stopped"
		}
		if all || state == "Done" && !have.told && have.background != 0 {
			fmt.Fprintf(w, "[%d]   %-23s %s\n", have.id, state, have.text)
			have.told = true
		}
		return state == "Done"
	})
}

// pick finds a job by %1, 1, g1, or the latest one.
func (j *jobs) pick(spec string) *job {
	j.mu.Lock()
	defer j.mu.Unlock()
	if spec == "" || spec == "%" || spec == "%%" || spec == "%+" {
		if len(j.list) == 0 {
			return nil
		}
		return j.list[len(j.list)-1]
	}
	for _, have := range j.list {
		if spec == fmt.Sprintf("%%%d", have.id) || spec == fmt.Sprint(have.id) || have.background != 0 && spec == fmt.Sprintf("g%d", have.background) {
			return have
		}
	}
	return nil
}

// signal sends a signal to all processes of a job.
func (j *jobs) signal(target *job, sig syscall.Signal) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if target.group != 0 {
		return unix.Kill(-target.group, sig)
	}
	var err error
	for _, p := range target.live {
		err = errors.Join(err, p.cmd.Process.Signal(sig))
	}
	return err
}

// resume continues a job, in the foreground until it ends or stops again.
func (j *jobs) resume(target *job, foreground bool) error {
	if foreground && j.control && target.group != 0 {
		giveTerminal(j.tty, target.group)
	}
	target.stopped = false
	if err := j.signal(target, unix.SIGCONT); err != nil && !errors.Is(err, unix.ESRCH) {
		return err
	}
	j.mu.Lock()
	live := slices.Clone(target.live)
	background := target.background != 0
	j.mu.Unlock()
	if !foreground {
		for _, p := range live {
			if p.stopped {
				p.stopped = false
				go j.finish(p)
			}
		}
		return nil
	}
	var last error
	for _, p := range live {
		if background && !p.stopped {
			last = j.join(target) // its goroutine waits for it
			continue
		}
		p.stopped = false
		if err := j.wait(p); errors.Is(err, errStopped) {
			return err
		} else if err != nil {
			last = err
		}
	}
	j.restore()
	return last
}

// join waits until a background job, whose processes others wait for, is over.
func (j *jobs) join(target *job) error {
	for {
		j.mu.Lock()
		over, stopped := len(target.live) == 0, target.stopped
		j.mu.Unlock()
		if over {
			return nil
		}
		if stopped {
			j.restore()
			return errStopped
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (j *jobs) finish(p *process) {
	_ = p.cmd.Wait() // its status is nobody's any more
	j.mu.Lock()
	defer j.mu.Unlock()
	j.ended(p)
}

// reap collects orphans that a container's first process inherits. Children of
// the shell itself are left to whoever waits for them.
func (j *jobs) reap() {
	const pause = 500 * time.Millisecond
	for {
		time.Sleep(pause)
		var info unix.Siginfo
		err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
		if err != nil || info.Signo == 0 {
			continue
		}
		pid := pidOf(&info)
		if pid > 0 && !j.mine(pid) {
			var status unix.WaitStatus
			_, _ = unix.Wait4(pid, &status, unix.WNOHANG, nil) // gone already is as good
		}
	}
}

func (j *jobs) mine(pid int) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	has := func(x *job) bool {
		return x != nil && slices.ContainsFunc(x.live, func(p *process) bool { return p.cmd.Process.Pid == pid })
	}
	return has(j.foreground) || slices.ContainsFunc(j.list, has)
}
