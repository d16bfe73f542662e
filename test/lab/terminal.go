package lab

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Terminal is a pseudo-terminal with a program on it, as a person would sit at.
type Terminal struct {
	t      testing.TB
	master *os.File
	cmd    *exec.Cmd
	mu     sync.Mutex
	screen strings.Builder
	seen   int // how much of screen Expect has consumed
	ended  chan struct{}
}

// OpenTerminal starts argv on a new terminal of 24 rows and 80 columns.
func OpenTerminal(t testing.TB, argv ...string) *Terminal {
	t.Helper()
	master, slave, err := openPty()
	if err != nil {
		t.Fatal(err)
	}
	term := &Terminal{t: t, master: master, cmd: exec.Command(argv[0], argv[1:]...), ended: make(chan struct{})}
	term.Resize(24, 80)
	term.cmd.Stdin, term.cmd.Stdout, term.cmd.Stderr = slave, slave, slave
	term.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := term.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	slave.Close()
	go term.read()
	t.Cleanup(func() {
		_ = term.cmd.Process.Kill()
		<-term.ended
		master.Close()
	})
	go func() { _ = term.cmd.Wait(); close(term.ended) }()
	return term
}

func openPty() (master, slave *os.File, err error) {
	master, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		return nil, nil, fmt.Errorf("unlock the terminal: %w", err)
	}
	fd, _, errno := unix.Syscall(unix.SYS_IOCTL, master.Fd(), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		return nil, nil, fmt.Errorf("open the terminal's other end: %w", errno)
	}
	return master, os.NewFile(fd, "pts"), nil
}

func (term *Terminal) read() {
	buf := make([]byte, 4096)
	for {
		n, err := term.master.Read(buf)
		term.mu.Lock()
		term.screen.Write(buf[:n])
		term.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// Type sends keys.
func (term *Terminal) Type(keys string) {
	term.t.Helper()
	if _, err := term.master.WriteString(keys); err != nil {
		term.t.Fatal(err)
	}
}

// Resize changes the size of the window.
func (term *Terminal) Resize(rows, columns uint16) {
	term.t.Helper()
	if err := unix.IoctlSetWinsize(int(term.master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns}); err != nil {
		term.t.Fatal(err)
	}
}

// Expect waits until text appears after what earlier calls matched.
func (term *Terminal) Expect(text string) {
	term.t.Helper()
	const within = 10 * time.Second
	for deadline := time.Now().Add(Scale(within)); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		term.mu.Lock()
		rest := term.screen.String()[term.seen:]
		at := strings.Index(rest, text)
		if at >= 0 {
			term.seen += at + len(text)
		}
		term.mu.Unlock()
		if at >= 0 {
			return
		}
	}
	term.mu.Lock()
	defer term.mu.Unlock()
	term.t.Fatalf("%q did not appear; the screen holds:\n%q", text, term.screen.String())
}

// Wait waits for the program's end and returns its exit code.
func (term *Terminal) Wait() int {
	term.t.Helper()
	select {
	case <-term.ended:
		return term.cmd.ProcessState.ExitCode()
	case <-time.After(Scale(10 * time.Second)):
		term.mu.Lock()
		defer term.mu.Unlock()
		term.t.Fatalf("the program did not end; the screen holds:\n%q", term.screen.String())
		return -1
	}
}

// Raw tells whether the terminal is in raw mode.
func (term *Terminal) Raw() bool {
	term.t.Helper()
	mode, err := unix.IoctlGetTermios(int(term.master.Fd()), unix.TCGETS)
	if err != nil {
		term.t.Fatal(err)
	}
	return mode.Lflag&(unix.ICANON|unix.ECHO) == 0
}
