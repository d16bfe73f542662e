package cli

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// attacked is the real program, in a place where a test may lose it.
func attacked(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "sampan-runtime")
	build := exec.Command("go", "build", "-o", program, "github.com/sampan-containers/sampan/cmd/sampan-runtime")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	before := checksum(t, program)
	t.Cleanup(func() {
		if checksum(t, program) != before {
			t.Error("the runtime's program on the host was changed")
		}
	})
	return program
}

func checksum(t *testing.T, name string) [32]byte {
	data, err := os.ReadFile(name)
	must(t, err)
	return sha256.Sum256(data)
}

// trampolineFailed is the exit code of what /proc/self/exe leads to: the few instructions
// by which a start leaves the runtime's program.
const trampolineFailed = 127

// R1, CVE-2019-5736: programs that lead back to the runtime's own. Whatever a
// container gets hold of that way, at once or by a descriptor that it keeps until
// nobody executes the file any more, it cannot write to.
func TestAttackSelfExe(t *testing.T) {
	program := attacked(t)
	l := newLab(t, nil)
	evil := filepath.Join(l.bundle, "rootfs", "evil")
	must(t, os.WriteFile(evil, []byte("#!/proc/self/exe\n"), 0o755))
	must(t, unix.Mkfifo(filepath.Join(l.bundle, "rootfs", "fifo"), 0o666))

	runtime := func(args ...string) *exec.Cmd {
		cmd := exec.Command(program, append([]string{"--root", l.root}, args...)...)
		cmd.Dir = l.bundle
		return cmd
	}
	privileged := func(s *specs.Spec) {
		all := everyCapability
		s.Process.Capabilities = &specs.LinuxCapabilities{Bounding: all, Effective: all, Permitted: all}
		s.Process.NoNewPrivileges = false
		s.Root.Readonly = false
	}

	for _, entry := range [][]string{
		{"/proc/self/exe", "--log", "/fifo", "list"}, // the runtime's program would wait at the FIFO
		{"/evil"},
		{"exe"}, // found in PATH
	} {
		t.Run("run "+entry[0], func(t *testing.T) {
			l.spec(func(s *specs.Spec) {
				privileged(s)
				s.Process.Args = entry
				s.Process.Env = []string{"PATH=/proc/self"}
			})
			out, err := runtime("run", l.id("entry")).CombinedOutput()
			if code := exitStatus(err); code != trampolineFailed {
				t.Errorf("exit code %d, want %d: %s", code, trampolineFailed, out)
			}
		})
	}

	// The catcher waits for a process that is not busybox's, keeps its program open,
	// lets it end by reading from the FIFO, and writes.
	const catcher = `
		echo ready
		while :; do
			for p in /proc/[0-9]*; do
				case $(readlink $p/exe) in ""|*/busybox) continue;; esac
				exec 5<$p/exe || continue
				echo caught $(readlink /proc/self/fd/5)
				while read line; do :; done </fifo
				while test -d $p; do :; done
				for try in 1 2 3; do echo evil >>/proc/self/fd/5; echo evil >/proc/self/fd/5; done
				echo done
				exit
			done
		done`
	for _, target := range [][]string{
		{"/proc/self/exe", "--log", "/fifo", "list"},
		{"/evil-log"},
	} {
		t.Run("exec "+target[0], func(t *testing.T) {
			// A script's interpreter takes one argument; --log=… names the FIFO, the name of
			// the script is the command that does not exist.
			must(t, os.WriteFile(evil+"-log", []byte("#!/proc/self/exe --log=/fifo\n"), 0o755))
			l.spec(func(s *specs.Spec) {
				privileged(s)
				s.Process.Args = []string{"/bin/sh", "-c", catcher}
			})
			id := l.id("catcher")
			out := filepath.Join(t.TempDir(), "out")
			f, err := os.Create(out)
			must(t, err)
			defer f.Close()
			start := runtime("run", "--detach", id)
			start.Stdout, start.Stderr = f, f
			must(t, start.Run())
			defer runtime("delete", "--force", id).Run() //nolint:errcheck // gone already, if all went well
			said := func(what string) func() bool {
				return func() bool {
					data, err := os.ReadFile(out)
					must(t, err)
					return strings.Contains(string(data), what)
				}
			}
			until(t, "catcher", said("ready"))
			if text, err := runtime(append([]string{"exec", id}, target...)...).CombinedOutput(); err != nil {
				t.Logf("exec: %v: %s", err, text)
			}
			until(t, "attempts to write", said("done"))
			data, err := os.ReadFile(out)
			must(t, err)
			t.Logf("%s", data)
		})
	}
}

func exitStatus(err error) int {
	if err == nil {
		return 0
	}
	if e, ok := err.(*exec.ExitError); ok {
		return e.ExitCode()
	}
	panic(fmt.Sprint("the program did not run: ", err))
}

var everyCapability = []string{"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_KILL", "CAP_SETGID", "CAP_SETUID",
	"CAP_SETPCAP", "CAP_NET_ADMIN", "CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_SYS_CHROOT", "CAP_MKNOD"}
