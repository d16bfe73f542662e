package box

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/box/applets"
)

// asBox makes the test binary be sampan-box itself.
const asBox = "SAMPAN_BOX_TEST"

func TestMain(m *testing.M) {
	if os.Getenv(asBox) != "" {
		os.Exit(Main(os.Args))
	}
	os.Exit(m.Run())
}

// command is an applet as a process, in a directory of its own; commands that
// it starts are found without any link.
func command(t testing.TB, dir, stdin string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", args[1:]...)
	cmd.Args[0] = args[0]
	cmd.Dir = dir
	cmd.Env = []string{asBox + "=1", "PATH=/nonexistent", "HOME=" + dir, "TZ=UTC"}
	cmd.Stdin = strings.NewReader(stdin)
	cmd.WaitDelay = time.Second
	return cmd
}

func invoke(t testing.TB, dir, stdin string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	cmd := command(t, dir, stdin, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if err != nil && cmd.ProcessState == nil {
		t.Fatalf("%q: %v", args, err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func TestEveryAppletIsListed(t *testing.T) {
	var have []string
	for _, tool := range Tools() {
		have = append(have, tool.Name)
		if tool.Run == nil {
			t.Errorf("%s does nothing", tool.Name)
		}
	}
	if want := applets.Names(); !slices.Equal(have, want) {
		t.Errorf("box has   %q\napplets has %q", have, want)
	}
}

func TestApplets(t *testing.T) {
	for _, test := range []struct {
		name  string
		stdin string
		args  []string
		want  string
		code  int
	}{
		{"basename", "", []string{"basename", "/a/b.txt", ".txt"}, "b\n", 0},
		{"dirname", "", []string{"dirname", "/a/b/", "c"}, "/a\n.\n", 0},
		{"cat numbers", "x\ny\n", []string{"cat", "-n"}, "     1\tx\n     2\ty\n", 0},
		{"cat missing", "", []string{"cat", "absent"}, "", 1},
		{"unknown option", "", []string{"cat", "-Z"}, "", 2},
		{"echo", "", []string{"echo", "-n", "a", "b"}, "a b", 0},
		{"echo escapes", "", []string{"echo", "-e", `a\tb\0101\cz`}, "a\tbA", 0},
		{"printf", "", []string{"printf", `%s-%03d-%x-%.1f\n`, "a", "7", "255", "1.25", "b", "8", "16", "2"}, "a-007-ff-1.2\nb-008-10-2.0\n", 0},
		{"printf bad number", "", []string{"printf", "%d\n", "x"}, "0\n", 1},
		{"seq", "", []string{"seq", "2", "2", "6"}, "2\n4\n6\n", 0},
		{"seq down", "", []string{"seq", "3", "-1", "1"}, "3\n2\n1\n", 0},
		{"seq equal width", "", []string{"seq", "-w", "9", "10"}, "09\n10\n", 0},
		{"head", "1\n2\n3\n", []string{"head", "-n", "2"}, "1\n2\n", 0},
		{"head old form", "1\n2\n3\n", []string{"head", "-1"}, "1\n", 0},
		{"head bytes", "abcdef", []string{"head", "-c3"}, "abc", 0},
		{"tail", "1\n2\n3\n", []string{"tail", "-n", "2"}, "2\n3\n", 0},
		{"tail from", "1\n2\n3\n", []string{"tail", "-n", "+2"}, "2\n3\n", 0},
		{"tail bytes", "abcdef", []string{"tail", "-c", "2"}, "ef", 0},
		{"wc", "one two\nthree\n", []string{"wc"}, "      2       3      14\n", 0},
		{"wc lines", "a\nb\n", []string{"wc", "-l"}, "2\n", 0},
		{"sort", "b\na\nc\n", []string{"sort", "-r"}, "c\nb\na\n", 0},
		{"sort numbers", "10\n9\n1\n9\n", []string{"sort", "-nu"}, "1\n9\n10\n", 0},
		{"sort by key", "a 2\nb 1\n", []string{"sort", "-k2n"}, "b 1\na 2\n", 0},
		{"sort sizes", "1M\n2K\n3\n", []string{"sort", "-h"}, "3\n2K\n1M\n", 0},
		{"uniq", "a\na\nb\n", []string{"uniq", "-c"}, "      2 a\n      1 b\n", 0},
		{"uniq repeated", "a\na\nb\n", []string{"uniq", "-d"}, "a\n", 0},
		{"cut fields", "a:b:c\n", []string{"cut", "-d:", "-f1,3"}, "a:c\n", 0},
		{"cut characters", "äbc\n", []string{"cut", "-c1-2"}, "äb\n", 0},
		{"tr", "hello\n", []string{"tr", "a-y", "b-z"}, "ifmmp\n", 0},
		{"tr delete", "a1b2\n", []string{"tr", "-d", "[:digit:]"}, "ab\n", 0},
		{"tr complement", "a b\n", []string{"tr", "-cd", "a-z"}, "ab", 0},
		{"tr squeeze", "aabb\n", []string{"tr", "-s", "ab"}, "ab\n", 0},
		{"grep", "one\ntwo\nthree\n", []string{"grep", "-n", "t"}, "2:two\n3:three\n", 0},
		{"grep none", "one\n", []string{"grep", "x"}, "", 1},
		{"grep count", "a\nb\na\n", []string{"grep", "-c", "a"}, "2\n", 0},
		{"grep invert", "a\nb\n", []string{"grep", "-v", "a"}, "b\n", 0},
		{"grep basic", "a+b\nab\n", []string{"grep", `a+\(b\)`}, "a+b\n", 0},
		{"grep extended", "aab\n", []string{"grep", "-oE", "a+"}, "aa\n", 0},
		{"grep fixed", "a.b\naxb\n", []string{"grep", "-F", "a.b"}, "a.b\n", 0},
		{"grep words", "cat\nconcat\n", []string{"grep", "-w", "cat"}, "cat\n", 0},
		{"grep context", "1\n2\n3\n4\n5\n", []string{"grep", "-C1", "3"}, "2\n3\n4\n", 0},
		{"grep bad pattern", "", []string{"grep", "-E", "("}, "", 2},
		{"sed", "a b a\n", []string{"sed", "s/a/X/g"}, "X b X\n", 0},
		{"sed groups", "key=value\n", []string{"sed", "-E", `s/(.*)=(.*)/\2=\1 &/`}, "value=key key=value\n", 0},
		{"sed addresses", "1\n2\n3\n4\n", []string{"sed", "-n", "2,3p;$p"}, "2\n3\n4\n", 0},
		{"sed delete", "a\n#b\nc\n", []string{"sed", "/^#/d"}, "a\nc\n", 0},
		{"sed unsupported", "", []string{"sed", "h"}, "", 2},
		{"tac", "1\n2\n", []string{"tac"}, "2\n1\n", 0},
		{"rev", "abä\n", []string{"rev"}, "äba\n", 0},
		{"sha256sum", "abc", []string{"sha256sum"}, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  -\n", 0},
		{"md5sum", "", []string{"md5sum"}, "d41d8cd98f00b204e9800998ecf8427e  -\n", 0},
		{"base64", "hello", []string{"base64"}, "aGVsbG8=\n", 0},
		{"base64 back", "aGVsbG8=\n", []string{"base64", "-d"}, "hello", 0},
		{"test", "", []string{"test", "a", "=", "a"}, "", 0},
		{"test numbers", "", []string{"[", "3", "-gt", "10", "]"}, "", 1},
		{"test and or not", "", []string{"test", "!", "-e", "absent", "-a", "-d", "."}, "", 0},
		{"test without bracket", "", []string{"[", "a"}, "", 2},
		{"true", "", []string{"true"}, "", 0},
		{"false", "", []string{"false"}, "", 1},
		{"date", "", []string{"date", "-u", "-d", "@86400", "+%Y-%m-%d %H:%M:%S %j %s"}, "1970-01-02 00:00:00 002 86400\n", 0},
		{"env", "", []string{"env", "-i", "A=1"}, "A=1\n", 0},
		{"xargs", "a b\n'c d'\n", []string{"xargs", "-n", "1", "/proc/self/exe", "echo", "got"}, "", -1},
		{"missing applet", "", []string{"sampan-box", "nothing"}, "", 127},
		{"by argument", "", []string{"sampan-box", "echo", "x"}, "x\n", 0},
		{"sleep", "", []string{"sleep", "0.01"}, "", 0},
		{"sleep bad", "", []string{"sleep", "soon"}, "", 2},
		{"gzip round", "text", []string{"sh", "-c", "gzip -c | gunzip -c"}, "text", 0},
		{"timeout", "", []string{"sh", "-c", "timeout 0.1 /proc/self/exe sleep 5; echo $?"}, "", -1},
	} {
		if test.code < 0 {
			continue // needs links, below
		}
		t.Run(test.name, func(t *testing.T) {
			out, errs, code := invoke(t, t.TempDir(), test.stdin, test.args...)
			if out != test.want || code != test.code {
				t.Errorf("%q = %q, status %d (%s), want %q, %d", test.args, out, code, errs, test.want, test.code)
			}
			if code != 0 && code != 1 && errs == "" {
				t.Errorf("%q failed without a word", test.args)
			}
		})
	}
}

func TestShell(t *testing.T) {
	for name, test := range map[string]struct {
		script string
		want   string
		code   int
	}{
		"pipes and lists":     {"echo b | tr b c; false || echo or; true && echo and", "c\nor\nand\n", 0},
		"redirections":        {"echo x >f; echo y >>f; cat <f; cat nothere 2>/dev/null; echo $?", "x\ny\n1\n", 0},
		"here document":       {"x=1\ncat <<EOF\nv $x\nEOF\ncat <<'EOF'\nv $x\nEOF", "v 1\nv $x\n", 0},
		"substitution":        {`x=$(echo a; echo b); echo "$x" | wc -l; echo $((6*7))`, "2\n42\n", 0},
		"functions":           {"f() { echo $# $1; return 3; }; f a b; echo $?", "2 a\n3\n", 0},
		"loops":               {"for i in 1 2; do while [ $i -lt 2 ]; do i=$((i+1)); echo $i; done; done", "2\n", 0},
		"case":                {"case abc in a*) echo yes;; *) echo no;; esac", "yes\n", 0},
		"exit":                {"echo a; exit 7; echo b", "a\n", 7},
		"errexit":             {"set -e; false; echo no", "", 1},
		"exit trap":           {"trap 'echo bye' EXIT; echo hi", "hi\nbye\n", 0},
		"signal trap":         {"trap 'echo got; exit 9' TERM; kill -TERM $$; sleep 1; echo no", "got\n", 9},
		"trap and go on":      {"trap 'echo got' USR1; kill -USR1 $$; sleep 0.05; echo on", "got\non\n", 0},
		"trap ends wait":      {"trap 'echo T' TERM; sleep 20 & p=$!; (sleep 0.2; kill -TERM $$) & wait $p; echo w; kill $p", "T\nw\n", 0},
		"background and wait": {"sleep 0.05 & wait; (exit 4) & wait $!; echo $?", "4\n", 0},
		"kill a job":          {"sleep 20 & kill $!; wait $!; echo $?", "143\n", 0},
		"not found":           {"nosuch 2>/dev/null; echo $?", "127\n", 0},
		"not executable":      {"echo x >f; ./f 2>/dev/null; echo $?; /etc 2>/dev/null; echo $?", "126\n126\n", 0},
		"script without #!":   {"echo 'echo in $1' >f; chmod +x f; ./f arg", "in arg\n", 0},
		"exec replaces":       {"exec echo replaced; echo no", "replaced\n", 0},
		"exec in a subshell":  {"(exec echo in); x=$(exec echo sub); echo $x; echo after", "in\nsub\nafter\n", 0},
		"exec redirects":      {"exec >f; echo x; exec cat f >&2", "", 0},
		"exec not found":      {"exec nosuch 2>/dev/null; echo no", "", 127},
		"umask":               {"umask 077; umask; echo >f; stat -c %a f", "0077\n600\n", 0},
		"cd":                  {"mkdir d; cd d && pwd | grep -c /d; cd nowhere 2>/dev/null; echo $?", "1\n1\n", 0},
		"syntax error":        {"if true; then", "", 2},
		"globs and quotes":    {`touch a1 a2 'b c'; echo a* "a*" ; ls b*`, "a1 a2 a*\nb c\n", 0},
		"xargs":               {"printf 'a b\\n\"c d\"\\n' | xargs -n1 echo got; seq 3 | xargs -I{} echo n{}", "got a\ngot b\ngot c d\nn1\nn2\nn3\n", 0},
		"timeout":             {"timeout 0.05 sleep 5; echo $?; timeout 5 false; echo $?", "124\n1\n", 0},
		"status of a signal":  {`sh -c 'kill -KILL $$'; echo $?`, "137\n", 0},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			links(t, dir)
			cmd := command(t, t.TempDir(), "", "sh", "-c", test.script)
			cmd.Env = append(cmd.Env, "PATH="+dir)
			var out, errs bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &errs
			if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
				t.Fatal(err)
			}
			if code := cmd.ProcessState.ExitCode(); out.String() != test.want || code != test.code {
				t.Errorf("%s\ngot %q, status %d (%s)\nwant %q, %d", test.script, out.String(), code, errs.String(), test.want, test.code)
			}
		})
	}
}

// links makes one link for each applet, as the image has.
func links(t testing.TB, dir string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range applets.Names() {
		if err := os.Symlink(self, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFiles(t *testing.T) {
	bin, dir := t.TempDir(), t.TempDir()
	links(t, bin)
	for _, step := range []struct{ script, want string }{
		{"mkdir -p a/b && echo hi >a/b/f && ln -s b/f a/l && ln a/b/f a/hard && ls -R", ".:\na\n\n./a:\nb\nhard\nl\n\n./a/b:\nf\n"},
		{"ls -l a | cut -c1-10", "total 8\ndrwxr-xr-x\n-rw-r--r--\nlrwxrwxrwx\n"},
		{"readlink a/l; readlink -f a/l | grep -o 'a/b/f'; cat a/l", "b/f\na/b/f\nhi\n"},
		{"stat -c '%s %a %h %F' a/hard", "3 644 2 regular file\n"},
		{"cp -a a c && stat -c %F c/l && cp -r a a/x; echo $?", "symbolic link\n1\n"},
		{"chmod u=rwx,go= c/hard && stat -c %a c/hard && chmod -R go+rX c && stat -c %a c/hard c/b", "700\n755\n755\n"},
		{"mv c d && ls d | wc -l && mv d/hard d/b && ls d/b", "3\nf\nhard\n"},
		{"find a -name 'f' -o -type l | sort; find d -type f -exec cat {} \\;; find . -maxdepth 1 -type d | sort", "a/b/f\na/l\nhi\nhi\n.\n./a\n./d\n"},
		{"rm d 2>/dev/null; echo $?; rm -r d && rm -f nothing && ls", "1\na\n"},
		{"du -b a/b/f | cut -f1; touch -d @1000000000 t && date -u -r t +%s", "3\n1000000000\n"},
		{"printf 0123456789 | dd bs=2 skip=1 count=2 status=none; truncate -s 5 z && wc -c z", "2345" + "5 z\n"},
		{"tar czf x.tgz a && mkdir out && tar xzf x.tgz -C out && cat out/a/l && tar tzf x.tgz | sort", "hi\na/\na/b/\na/b/f\na/hard\na/l\n"},
		{"gzip -k a/b/f && ls a/b && gunzip -c a/b/f.gz && rm a/b/f.gz", "f\nf.gz\nhi\n"},
		{"mktemp -d tmpXXXXXX | cut -c1-3; rmdir tmp*; sync; id -u; whoami >/dev/null; uname -s; echo a | tee q; cat q; rm q", "tmp\n" + fmt.Sprint(os.Getuid()) + "\nLinux\na\na\n"},
		{"sha256sum a/b/f >sums && sha256sum -c sums; echo x >a/b/f; sha256sum -c sums 2>/dev/null; echo $?", "a/b/f: OK\na/b/f: FAILED\n1\n"},
		{"rm -rf / 2>&1 | grep -c refusing; rm -rf . 2>&1 | grep -c refusing", "1\n1\n"},
	} {
		cmd := command(t, dir, "", "sh", "-c", step.script)
		cmd.Env = append(cmd.Env, "PATH="+bin)
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
			t.Fatal(err)
		}
		if out.String() != step.want {
			t.Errorf("%s\ngot  %q (%s)\nwant %q", step.script, out.String(), errs.String(), step.want)
		}
	}
}

func TestScriptOnStdinSharesItWithCommands(t *testing.T) {
	out, errs, code := invoke(t, t.TempDir(), "read x\nhello\necho \"got $x\"\ncat\nrest\n", "sh")
	if out != "got hello\nrest\n" || code != 0 {
		t.Errorf("got %q, status %d (%s)", out, code, errs)
	}
}

// The first process of a container has no default actions: the box has its own.
func TestSignalsAsPid1(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("a pid namespace needs root")
	}
	for _, args := range [][]string{{"sleep", "60"}, {"sh", "-c", "sleep 60"}, {"sh", "-c", "while :; do :; done"}} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			// Before its handler is there, Go's runtime ends a program with status
			// 2: then it was too early, and the next try waits longer.
			for wait := 20 * time.Millisecond; wait < 5*time.Second; wait *= 2 {
				cmd := command(t, t.TempDir(), "", args...)
				cmd.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWPID}
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				time.Sleep(wait)
				if err := cmd.Process.Signal(unix.SIGTERM); err != nil {
					t.Fatal(err)
				}
				err := cmd.Wait()
				code := cmd.ProcessState.ExitCode()
				if code == 143 {
					return
				}
				if code != 2 {
					t.Fatalf("status %d (%v), want 143", code, err)
				}
			}
			t.Error("SIGTERM is not handled")
		})
	}
}

func TestBinaryIsSmallAndStatic(t *testing.T) {
	const limit = 20 << 20
	path := filepath.Join(t.TempDir(), self)
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "../cmd/sampan-box")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	st, err := os.Stat(path)
	if err != nil || st.Size() > limit {
		t.Errorf("%d bytes, %v, want at most %d", st.Size(), err, limit)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(data, []byte("/ld-linux")) {
		t.Error("the binary asks for a dynamic loader")
	}
}
