package scenario

import (
	"path/filepath"
	"testing"

	"github.com/sampan-containers/sampan/test/lab"
)

const detach = "\x10\x11" // ctrl-p ctrl-q

// A person at a terminal: a prompt, the window's size, ctrl-c, detach, attach.
func TestTerminal(t *testing.T) {
	d := lab.Start(t)
	d.Import(lab.Cache(t, "debian-nginx.tar"), debian)
	for _, argv := range [][]string{{lab.Bin(t, "sampan")}, {"/usr/bin/docker", "-H", "unix:///run/sampan/sampan.sock"}} {
		t.Run(filepath.Base(argv[0]), func(t *testing.T) {
			term := lab.OpenTerminal(t, append(argv, "run", "-it", "--name", "person", "-e", "PS1=ready> ", debian, "bash", "--norc")...)
			term.Expect("ready> ")
			term.Type("stty size\r")
			term.Expect("24 80")
			term.Resize(50, 132)
			term.Type("sleep 0.2; stty size\r")
			term.Expect("50 132")
			// Ctrl-c ends what runs in the foreground, not the shell. The echo tells
			// that it runs, not only that it was typed.
			// exec: a shell that is interrupted between its two commands may wait on, also
			// without any container.
			term.Type("sh -c 'echo on-$((6*7)); exec sleep 1000'\r")
			term.Expect("on-42")
			term.Type("\x03")
			term.Expect("ready> ")
			term.Type("sleep 1000 &\r")
			term.Type("jobs\r")
			term.Expect("Running")
			if !term.Raw() {
				t.Error("the terminal is not in raw mode while attached")
			}
			term.Type(detach)
			if code := term.Wait(); code != 0 {
				t.Errorf("exit code after detach = %d", code)
			}
			if term.Raw() {
				t.Error("the terminal is still in raw mode after detach")
			}
			again := lab.OpenTerminal(t, append(argv, "attach", "person")...)
			again.Type("\recho back-$((40+2))\r")
			again.Expect("back-42")
			again.Type("exit 6\r")
			if code := again.Wait(); code != 6 {
				t.Errorf("exit code after attach = %d, want 6", code)
			}
			d.Sampan("rm", "person").Must(t)

			d.Sampan("run", "-d", "--name", "served", debian, "sleep", "1000").Must(t)
			inside := lab.OpenTerminal(t, append(argv, "exec", "-it", "-e", "PS1=in> ", "served", "bash", "--norc")...)
			inside.Expect("in> ")
			inside.Type("stty size\r")
			inside.Expect("24 80")
			inside.Type("exit 4\r")
			if code := inside.Wait(); code != 4 {
				t.Errorf("exit code of exec = %d, want 4", code)
			}
			d.Sampan("rm", "-f", "served").Must(t)
		})
	}
}
