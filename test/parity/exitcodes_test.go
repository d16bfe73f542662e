package parity

import (
	"strings"
	"testing"
)

// exitCases are compared by exit code, stdout and stderr.
var exitCases = []struct {
	args   []string
	both   string // what both texts must hold; "" when they must be the same
	mended int    // our exit code where 20.10's is another, for the reason given
	reason string
}{
	{args: []string{"run", "--rm", busybox, "true"}},
	{args: []string{"run", "--rm", busybox, "false"}},
	{args: []string{"run", "--rm", busybox, "sh", "-c", "exit 42"}},
	{args: []string{"run", "--rm", busybox, "sh", "-c", "kill -9 $$"}},
	{args: []string{"run", "--rm", busybox, "sh", "-c", "trap 'exit 7' TERM; kill -15 $$"}},
	{args: []string{"run", "--rm", busybox, "sh", "-c", "echo out; echo err >&2"}},
	{args: []string{"run", "--rm", busybox, "absent"}, both: `exec: "absent": executable file not found in $PATH`},
	{args: []string{"run", "--rm", busybox, "/absent"}, both: "no such file or directory"},
	{args: []string{"run", "--rm", busybox, "/etc"}, both: "permission denied"},
	{args: []string{"run", "--rm", busybox, "/etc/noexec"}, both: "permission denied"},
	{args: []string{"run", "--rm", busybox, "/etc/nointerpreter"}, both: "/etc/nointerpreter: no such file or directory", mended: 127,
		reason: "runc has reported success when its last execve fails, and exits with 1; ours reports the failed execve"},
	{args: []string{"run", "--rm", busybox, "/etc/noformat"}, both: "/etc/noformat: exec format error", mended: 125,
		reason: "runc has reported success when its last execve fails, and exits with 1; ours reports the failed execve"},
	{args: []string{"run", "--rm", "--entrypoint", "absent", busybox}, both: `exec: "absent": executable file not found in $PATH`},
	{args: []string{"run", "--rm", "--workdir", "/etc/passwd", busybox, "true"}, both: "/etc/passwd"},
	{args: []string{"run", "--rm", "--user", "nobody-here", busybox, "true"}, both: "unable to find user nobody-here: no matching entries in passwd file"},
	{args: []string{"run", "--rm", "--user", "0:nogroup-here", busybox, "true"}, both: "unable to find group nogroup-here: no matching entries in group file"},
	{args: []string{"exec", "host", "true"}},
	{args: []string{"exec", "host", "sh", "-c", "exit 42"}},
	{args: []string{"exec", "host", "sh", "-c", "echo out; echo err >&2"}},
	{args: []string{"exec", "host", "absent"}, both: `exec: "absent": executable file not found in $PATH`, mended: 127,
		reason: "20.10 finds 127 and then overwrites it with 126; later versions exit with 127"},
	{args: []string{"exec", "host", "/etc"}, both: "permission denied"},
	{args: []string{"exec", "host", "/etc/noexec"}, both: "permission denied"},
	{args: []string{"exec", "--user", "nobody-here", "host", "true"}},
	{args: []string{"exec", "--workdir", "/absent", "host", "true"}, both: "/absent"},
	{args: []string{"exec", "-e", "A=1", "host", "sh", "-c", "echo $A"}},
	{args: []string{"wait", "absent"}},
	{args: []string{"stop", "-t", "0", "host"}},
	{args: []string{"stop", "host"}},
	{args: []string{"start", "host"}},
	{args: []string{"start", "host"}},
	{args: []string{"kill", "-s", "9", "host"}},
	{args: []string{"kill", "host"}, both: "is not running"},
	{args: []string{"restart", "-t", "0", "host"}},
	{args: []string{"rm", "host"}, both: "stop the container before"},
	{args: []string{"rm", "-f", "host"}},
	{args: []string{"rm", "-f", "host"}},
}

// compareExitCodes compares the client's exit code and what it prints.
func compareExitCodes(t *testing.T, p *pair) {
	t.Cleanup(func() { p.removeAll(t) })
	p.must(t, "run", "-d", "--name", "host", busybox, "sleep", "1000")
	for _, tc := range exitCases {
		t.Run(strings.Join(tc.args, " "), func(t *testing.T) {
			a, b := p.docker(t, tc.args...)
			if a.Code != b.Code && (tc.mended == 0 || a.Code != tc.mended) || tc.mended != 0 && a.Code == b.Code {
				t.Errorf("%s: exit %d, prints %q, %q\n%s: exit %d, prints %q, %q", p.ours.name, a.Code, a.Out, a.Err, p.theirs.name, b.Code, b.Out, b.Err)
			}
			compareWords(t, p, tc.both, "stdout "+a.Out+"stderr "+a.Err, "stdout "+b.Out+"stderr "+b.Err)
		})
	}
}
