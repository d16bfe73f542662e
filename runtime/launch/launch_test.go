package launch

import (
	"errors"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// run starts a program and returns what it said until its end.
func run(t *testing.T, b *Builder) ([]Message, syscall.WaitStatus, error) {
	t.Helper()
	p, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	c, err := p.Start(StartOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	defer c.PidFD.Close()
	var said []Message
	for {
		m, err := c.Next()
		if err != nil {
			status, ok := c.Wait()
			if !ok {
				t.Fatal("the child is not ours to reap")
			}
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return said, status, err
		}
		if m.Kind == Waits {
			if err := c.Continue(); err != nil {
				t.Fatal(err)
			}
		}
		said = append(said, m)
	}
}

func (b *Builder) exec(argv ...string) Step {
	return b.Call(unix.SYS_EXECVE, b.Str(argv[0]), b.Strs(argv), b.Strs(nil))
}

func TestExec(t *testing.T) {
	b := NewBuilder()
	b.exec("/bin/sh", "-c", "exit 7")
	if _, status, err := run(t, b); err != nil || status.ExitStatus() != 7 {
		t.Fatalf("status %d, error %v; want 7", status.ExitStatus(), err)
	}
}

func TestFailureNamesTheSite(t *testing.T) {
	b := NewBuilder()
	b.At("do the first thing")
	b.Call(unix.SYS_GETPID)
	b.At("open the door", Hint{syscall.ENOENT, "knock"})
	b.Openat(Cwd(), "/no/such/door", unix.O_RDONLY, 0)
	b.exec("/bin/true")
	_, status, err := run(t, b)
	var f *Failure
	if !errors.As(err, &f) || !errors.Is(err, syscall.ENOENT) {
		t.Fatalf("error %v; want a Failure with ENOENT", err)
	}
	if want := "open the door: it does not exist (knock)"; err.Error() != want {
		t.Errorf("text %q; want %q", err, want)
	}
	if status.ExitStatus() != failStatus {
		t.Errorf("status %d; want %d", status.ExitStatus(), failStatus)
	}
}

func TestControlFlow(t *testing.T) {
	b := NewBuilder()
	s, fd := b.Slot(), b.Slot()
	m := b.Data([]byte{0x34, 0x12, 0xff, 0xff})
	wrong := b.Label()
	b.Load(s, m, 0, 0xffff)
	b.IfNot(s, 0x1234, wrong)
	b.Store(m, 0, Int(77))
	b.Load(s, m, 0, 0xff)
	b.IfNot(s, 77, wrong)
	b.Set(s, Int(0))
	zero := b.Label()
	b.IfZero(s, zero)
	b.Goto(wrong)
	b.Mark(zero)
	tolerated := b.Label()
	b.Openat(Cwd(), "/no/such/file", unix.O_RDONLY, 0).Into(fd).Else(tolerated, syscall.EPERM, syscall.ENOENT)
	b.Goto(wrong)
	b.Mark(tolerated)
	b.Openat(Cwd(), "/no/such/file", unix.O_RDONLY, 0).Ignore()
	b.Exit(3)
	b.Mark(wrong)
	b.Exit(4)
	if _, status, err := run(t, b); err != nil || status.ExitStatus() != 3 {
		t.Fatalf("status %d, error %v; want 3", status.ExitStatus(), err)
	}
}

// Slots, forks, descriptors and the barrier in one conversation.
func TestConversation(t *testing.T) {
	b := NewBuilder()
	fd, pid := b.Slot(), b.Slot()
	b.Openat(Cwd(), "/etc/hostname", unix.O_RDONLY, 0).Into(fd).Ignore()
	b.Openat(Cwd(), "/etc/passwd", unix.O_RDONLY, 0).Into(fd)
	b.Send(In(fd), In(fd))
	b.Wait()
	child := b.Label()
	b.Fork(pid, 0, child)
	b.Say(Forked, In(pid))
	b.Call(unix.SYS_WAIT4, In(pid), Int(0), Int(unix.WALL), Int(0))
	b.Exit(5)
	b.Mark(child)
	b.exec("/bin/true")
	said, status, err := run(t, b)
	if err != nil || status.ExitStatus() != 5 {
		t.Fatalf("status %d, error %v; want 5", status.ExitStatus(), err)
	}
	var kinds []Kind
	for _, m := range said {
		kinds = append(kinds, m.Kind)
		for _, f := range m.Files {
			f.Close()
		}
	}
	if len(kinds) != 3 || kinds[0] != Files || len(said[0].Files) != 2 || kinds[1] != Waits || kinds[2] != Forked || said[2].Value == 0 {
		t.Fatalf("messages %v", said)
	}
}

func TestBuilderMistakes(t *testing.T) {
	for name, mistake := range map[string]func(*Builder){
		"NUL":   func(b *Builder) { b.Str("a\x00b") },
		"label": func(b *Builder) { b.Goto(b.Label()) },
		"slots": func(b *Builder) {
			for range 300 {
				b.Slot()
			}
		},
		"errnos":         func(b *Builder) { b.Call(unix.SYS_GETPID).Ignore(1, 2, 3) },
		"too many files": func(b *Builder) { b.Send(make([]Arg, MaxFiles+1)...) },
	} {
		t.Run(name, func(t *testing.T) {
			b := NewBuilder()
			mistake(b)
			if _, err := b.Finish(); err == nil {
				t.Error("no error")
			}
		})
	}
}

// Whatever a traced child writes, the parent must get an error or a checked message.
func FuzzDecode(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{1, 0, 0, 0, 255, 255, 255, 255, 2, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{9, 0, 0, 0})
	b := NewBuilder()
	b.Exit(0)
	p, err := b.Finish()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := p.decode(data)
		if err == nil && (m.Kind <= Failed || m.Kind >= lastKind) {
			t.Fatalf("accepted kind %d", m.Kind)
		}
		if err != nil && !strings.Contains(err.Error(), " ") {
			t.Fatalf("no sentence: %q", err)
		}
	})
}

func BenchmarkStart(b *testing.B) {
	null, err := os.Open("/dev/null")
	if err != nil {
		b.Fatal(err)
	}
	defer null.Close()
	for b.Loop() {
		p := NewBuilder()
		p.exec("/bin/true")
		prog, err := p.Finish()
		if err != nil {
			b.Fatal(err)
		}
		c, err := prog.Start(StartOptions{})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := c.Next(); !errors.Is(err, io.EOF) {
			b.Fatal(err)
		}
		c.Wait()
		c.Close()
		c.PidFD.Close()
	}
}
