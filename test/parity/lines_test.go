package parity

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sampan-containers/sampan/test/compat"
	"github.com/sampan-containers/sampan/test/lab"
)

// lineWait bounds one line of cases.
const lineWait = 60 * time.Second

// compareLines runs the lines of test/compat/cases on both engines by the stock
// client: exit code, output and, unless the line is marked, the words on stderr
// must be the same.
func compareCases(t *testing.T, p *pair) {
	files, err := filepath.Glob("../compat/cases/*.txt")
	if err != nil || len(files) < 5 {
		t.Fatalf("%v, %v: the cases are missing", files, err)
	}
	rootfs := busyboxTar(t)
	for _, file := range files {
		name := filepath.Base(file)
		if name == "ours.txt" || name == "routes.txt" {
			continue
		}
		lines, err := compat.Lines(file)
		if err != nil {
			t.Fatal(err)
		}
		dirs := map[*engine]string{p.ours: caseDir(t, rootfs), p.theirs: caseDir(t, rootfs)}
		for _, l := range lines {
			t.Run(l.Name(), func(t *testing.T) { p.compareLine(t, l, dirs) })
		}
		p.removeAll(t)
	}
}

// caseDir makes what the lines find at $D.
func caseDir(t *testing.T, rootfs string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(dir+"/data", 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"data/file": "hello\n", "env": "A=from file\nB=2\n",
		"seccomp.json": `{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO"}]}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(rootfs, dir+"/rootfs.tar"); err != nil {
		t.Fatal(err)
	}
	return dir
}

func (p *pair) compareLine(t *testing.T, l compat.Line, dirs map[*engine]string) {
	x, y := p.both(t, func(e *engine) any { return e.shell(t, l.Command, dirs[e]) })
	a, b := x.(lab.Result), y.(lab.Result)
	same := a.Code == b.Code && a.Out == b.Out
	switch {
	case l.Differs != "" && same:
		t.Errorf("%s\nthe two do the same: take the mark %q away", l.Command, l.Differs)
	case l.Differs != "":
	case !same, !l.Words && a.Err != b.Err:
		t.Errorf("%s\n%s: exit %d\n%s%s\n%s: exit %d\n%s%s", l.Command, p.ours.name, a.Code, a.Out, a.Err, p.theirs.name, b.Code, b.Out, b.Err)
	case a.Code != 0 && strings.TrimSpace(a.Out+a.Err) == "" && b.Out+b.Err != "":
		t.Errorf("%s: %s says nothing, %s says %s", l.Command, p.ours.name, p.theirs.name, b.Err)
	}
}

var (
	moment = regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:.]+Z`)
	// What the stock client says of a wait that it cancels itself comes or does not
	// come, with both engines.
	cancelled = regexp.MustCompile(`(?m)^time=.*error waiting for container: context canceled.*\n?`)
)

// shell runs a line with docker pointing at the engine, and takes from what it
// prints what is drawn at random.
func (e *engine) shell(t *testing.T, command, dir string) lab.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), lab.Scale(lineWait))
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", command)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + dir, "D=" + dir, "DOCKER_CONFIG=" + e.config, "DOCKER_HOST=unix://" + e.socket}
	cmd.WaitDelay = time.Second
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %s: %v\n%s%s", e.name, command, err, out.String(), errOut.String())
	}
	plain := func(text string) string {
		text = withoutIDs(cancelled.ReplaceAllString(text, ""))
		text = strings.ReplaceAll(text, dir, "$D")
		text = strings.ReplaceAll(text, e.root, "<root>")
		return moment.ReplaceAllString(text, "<moment>")
	}
	return lab.Result{Out: plain(out.String()), Err: plain(errOut.String()), Code: cmd.ProcessState.ExitCode()}
}
