package runtime

import (
	goruntime "runtime"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-containers/sampan/runtime/seccomp"
)

// A filter that the caller compiled holds for the container's program and for each
// process that enters later, although the specification knows of no profile.
func TestCompiledFilter(t *testing.T) {
	l := newLab(t)
	filter, err := seccomp.NewFilter(&specs.LinuxSeccomp{
		DefaultAction: specs.ActAllow,
		Syscalls:      []specs.LinuxSyscall{{Names: []string{"mkdir", "mkdirat"}, Action: specs.ActErrno}},
	}, goruntime.GOARCH)
	l.must(err)
	compiled := func(s *LaunchSpec) { s.Filter = filter }
	const try = "mkdir /tmp/x 2>/dev/null || echo refused"
	l.equal("the container's program", l.run(l.spec("sh", "-c", try), compiled), "refused")
	b, err := l.launch(l.spec("sleep", "100"), compiled)
	l.must(err)
	got, _ := b.exec(shell(try))
	l.equal("a process that enters", got, "refused")
	b, err = l.launch(l.spec("sleep", "100"))
	l.must(err)
	got, _ = b.exec(shell(try))
	l.equal("without a filter", got, "")
}
