package ociruntime

import (
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// runc finds the other runtime.
func runc(t testing.TB) string {
	t.Helper()
	bin, err := exec.LookPath("runc")
	if err != nil {
		t.Skip("no runc: install the Debian package runc")
	}
	return bin
}

// TestFieldsAsRunc runs each case with both runtimes and compares what the process sees.
// A case that says why it differs is not compared; the reasons are the list of intended
// differences.
func TestFieldsAsRunc(t *testing.T) {
	bin := runc(t)
	for _, f := range fields() {
		t.Run(f.section+"/"+f.name, func(t *testing.T) {
			if f.differs != "" {
				t.Skip("not compared: " + f.differs)
			}
			mine, theirs := runField(t, ours, f), runField(t, bin, f)
			if mine.code != theirs.code || mine.out != theirs.out {
				t.Errorf("ours: exit code %d, %q, %q\nrunc: exit code %d, %q, %q", mine.code, mine.out, mine.err, theirs.code, theirs.out, theirs.err)
			}
		})
	}
}

// step is a command line, with ID for the container's id. Both runtimes get the same steps.
type step struct {
	args    []string
	input   string
	code    int    // that both give
	compare string // of the output: "", "equal", "keys" (members of JSON objects), or a regular expression that both match
}

func s(line string, code int, compare string) step {
	return step{args: strings.Fields(line), code: code, compare: compare}
}

// commandLines has at least one case for each command and flag of runc.
func commandLines() map[string][]step {
	hold := []step{s("run --detach ID", 0, "equal")}
	end := []step{s("delete --force ID", 0, "equal"), s("state ID", 1, "equal")}
	with := func(steps ...step) []step { return slices.Concat(hold, steps, end) }
	return map[string][]step{
		"global: no command":                 {s("", 0, "(?s)NAME:.*USAGE:.*COMMANDS:.*create.*GLOBAL OPTIONS:.*--root value")},
		"global: --help":                     {s("--help", 0, "--systemd-cgroup"), s("-h", 0, "--log-format value"), s("help", 0, "COMMANDS")},
		"global: --version":                  {s("--version", 0, `version \S+\ncommit: \S+\nspec: 1`), s("-v", 0, "version")},
		"global: unknown command":            {s("frob", 3, "equal")},
		"global: unknown flag":               {s("--frob list", 1, "")},
		"global: --debug --log":              {s("--debug --log log list", 0, "equal"), s("--log log --log-format json state nobody", 1, "equal")},
		"global: --log-format unknown":       {s("--log-format xml list", 1, "equal")},
		"global: --rootless":                 {s("--rootless false list", 0, "equal"), s("--rootless auto list", 0, "equal"), s("--rootless true list", 0, "equal")},
		"global: --rootless and a container": {s("--rootless=true run -d ID", 0, "equal"), s("exec ID true", 0, "equal"), s("delete -f ID", 0, "equal")},
		"global: --criu":                     {s("--criu criu list", 0, "equal")},
		"create and start": {s("create --bundle . --pid-file pid ID", 0, "equal"), s("state ID", 0, "keys"), s("start ID", 0, "equal"), s("start ID", 1, "equal"),
			s("kill ID KILL", 0, "equal"), s("delete --force ID", 0, "equal")},
		"create: flags":          {s("create -b . --no-pivot --no-new-keyring --preserve-fds 0 ID", 0, "equal"), s("delete -f ID", 0, "equal")},
		"create: twice":          with(s("create ID", 1, "equal"), s("run ID", 1, "equal")),
		"create: no id":          {s("create", 1, "(?s)Incorrect Usage.*NAME:.*create - create a container")},
		"create: bad id":         {s("create a/b", 1, "equal"), s("create ..", 1, "equal")},
		"create: no bundle":      {s("create --bundle /proc ID", 1, "equal")},
		"create: console socket": {s("create --console-socket nowhere ID", 1, "equal")},
		"create: --help":         {s("create --help", 0, "--console-socket value")},
		"run":                    {s("run --keep ID", 0, "equal"), s("list -q", 0, ""), s("delete ID", 0, "equal")},
		"run: flags":             {s("run --no-subreaper --pid-file pid --bundle . --no-pivot --no-new-keyring --preserve-fds 0 ID", 0, "equal"), s("run --preserve-fds 9 ID", 1, ""), s("run --console-socket nowhere ID", 1, "equal")},
		"run: unknown flag":      {s("run --frob ID", 1, "(?s)Incorrect Usage.*OPTIONS")},
		"run: two ids":           {s("run a b", 1, "Incorrect Usage")},
		"exec": with(s("exec ID echo a b", 0, "equal"), s("exec --cwd /tmp ID pwd", 0, "equal"), s("exec -e X=y -e Z=1 ID sh -c echo$IFS$X$Z", 0, "equal"),
			s("exec --user 12:34 ID id", 0, "equal"), s("exec --env X=y ID env", 0, "equal"), s("exec -u 12 --additional-gids 56 --additional-gids 78 ID id -G", 0, "equal"), s("exec --cap CAP_NET_RAW ID grep CapBnd /proc/self/status", 0, "equal"),
			s("exec -c CAP_NET_RAW ID grep CapAmb /proc/self/status", 0, "equal"), s("exec --no-new-privs ID grep NoNewPrivs /proc/self/status", 0, "equal"), s("exec --detach --pid-file pid ID sleep 100", 0, "equal"),
			s("exec --preserve-fds 0 ID true", 0, "equal"), s("exec --process process.json ID", 0, "equal"), s("exec -p process.json ID", 0, "equal"),
			s("exec ID sh -c exit$IFS+7", 2, ""), s("exec ID false", 1, "equal"), s("exec ID nope", 255, "equal"), s("exec ID /etc", 255, "equal"), s("exec ID", 255, ""),
			s("exec --user x ID true", 255, "equal"), s("exec --cwd tmp ID true", 255, "equal"), s("exec --tty --console-socket nowhere ID true", 255, "equal"), s("exec --cgroup nowhere ID true", 255, "equal"),
			s("exec --process-label x ID true", 255, "equal"), s("exec --apparmor none ID true", 255, "equal"), s("exec --ignore-paused ID true", 0, "equal")),
		"exec: no container":       {s("exec nobody true", 255, "equal")},
		"state and list":           with(s("state ID", 0, "keys"), s("list", 0, "ID +PID +STATUS +BUNDLE +CREATED +OWNER\n"), s("list --format json", 0, "keys"), s("list -f json", 0, "keys"), s("list --format xml", 1, ""), s("list --quiet", 0, "")),
		"list: nothing":            {s("list", 0, "equal"), s("list -q", 0, "equal"), s("list -f json", 0, "equal")},
		"state: no container":      {s("state nobody", 1, "equal"), s("state", 1, "Incorrect Usage")},
		"kill":                     with(s("kill ID 0", 0, "equal"), s("kill ID FOO", 1, "equal"), s("kill ID 99", 1, "")),
		"kill: --all":              with(s("kill --all ID KILL", 0, "equal")),
		"kill: no container":       {s("kill nobody", 1, "equal"), s("kill", 1, "Incorrect Usage")},
		"kill: of what has ended":  {s("run --keep ID", 0, "equal"), s("kill ID KILL", 1, "equal"), s("kill -a ID KILL", 0, "equal"), s("exec ID true", 255, "equal"), s("pause ID", 1, "equal"), s("start ID", 1, "equal"), s("delete ID", 0, "equal")},
		"pause and resume":         with(s("pause ID", 0, "equal"), s("list", 0, "paused"), s("exec ID true", 255, "equal"), s("resume ID", 0, "equal"), s("resume ID", 1, "equal")),
		"delete: running":          with(s("delete ID", 1, "equal")),
		"delete: no container":     {s("delete nobody", 1, "equal"), s("delete --force nobody", 0, "equal"), s("delete", 1, "Incorrect Usage")},
		"ps":                       with(s("ps ID", 0, "UID +PID"), s("ps --format json ID", 0, `^\[\d+\]$`), s("ps -f json ID", 0, `^\[\d+\]$`), s("ps ID -o pid,args", 0, `PID COMMAND\n *\d+ sleep`), s("ps -f xml ID", 1, "equal")),
		"events":                   with(s("events --stats ID", 0, `"type":"stats","id":".*"cpu":.*"memory":.*"pids":`), s("events --interval 0s ID", 1, "equal")),
		"events: no container":     {s("events --stats nobody", 1, "equal")},
		"features":                 {s("features", 0, `(?s)"ociVersionMin": "1.0.0".*"hooks": \[.*"createContainer".*"mountOptions".*"seccomp"`)},
		"spec":                     {s("spec --bundle sub", 0, "equal"), s("spec -b sub", 1, "equal")},
		"checkpoint: no container": {s("checkpoint nobody", 1, "equal")},
		"update": with(s("update --memory 67108864 --memory-swap -1 ID", 0, "equal"), s("exec ID cat /sys/fs/cgroup/memory/memory.limit_in_bytes", 0, "equal"),
			s("update --memory-reservation 33554432 ID", 0, "equal"), s("exec ID cat /sys/fs/cgroup/memory/memory.soft_limit_in_bytes", 0, "equal"),
			s("update --cpu-share 300 --cpu-quota 30000 --cpu-period 100000 ID", 0, "equal"), s("exec ID cat /sys/fs/cgroup/cpu/cpu.shares /sys/fs/cgroup/cpu/cpu.cfs_quota_us", 0, "equal"),
			s("update --cpuset-cpus 0 --cpuset-mems 0 ID", 0, "equal"), s("exec ID cat /sys/fs/cgroup/cpuset/cpuset.cpus", 0, "equal"),
			s("update --pids-limit 44 ID", 0, "equal"), s("exec ID cat /sys/fs/cgroup/pids/pids.max", 0, "equal"),
			step{args: []string{"update", "--resources", "-", "ID"}, input: `{"pids":{"limit":55},"cpu":{"shares":400}}`, compare: "equal"}, s("exec ID cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/cpu/cpu.shares", 0, "equal"),
			s("update -r resources.json ID", 0, "equal"), s("exec ID cat /sys/fs/cgroup/pids/pids.max", 0, "equal"), s("update --memory much ID", 1, "equal"),
			s("update --cpu-rt-period much ID", 1, "equal"), s("update --cpu-rt-runtime much ID", 1, "equal"), s("update --blkio-weight much ID", 1, ""), s("update --blkio-weight 300 ID", 0, "equal"),
			s("update --kernel-memory 1048576 ID", 0, "equal"), s("update --kernel-memory-tcp 1048576 ID", 0, "equal"), s("update --l3-cache-schema L3:0=f ID", 1, "equal"), s("update --mem-bw-schema MB:0=20 ID", 1, "equal")),
		"update: no container": {s("update --memory 1 nobody", 1, "equal")},
	}
}

// TestCommandLinesAsRunc gives both runtimes the same command lines.
func TestCommandLinesAsRunc(t *testing.T) {
	bin := runc(t)
	for name, steps := range commandLines() {
		t.Run(name, func(t *testing.T) {
			labs := []*lab{newLab(t, ours), newLab(t, bin)}
			id := labs[0].id()
			for _, l := range labs {
				spec := base("")
				spec.Process.Args = []string{"sleep", "1000"}
				if strings.HasPrefix(name, "run") || name == "kill: of what has ended" {
					spec.Process.Args = []string{"true"}
				}
				l.write(spec)
				must(t, os.Mkdir(l.bundle+"/sub", 0o755))
				process, err := json.Marshal(&specs.Process{Args: []string{"echo", "by file"}, Cwd: "/", Env: []string{"PATH=/bin"}})
				must(t, err)
				must(t, os.WriteFile(l.bundle+"/process.json", process, 0o644))
				must(t, os.WriteFile(l.bundle+"/resources.json", []byte(`{"pids":{"limit":66}}`), 0o644))
			}
			for _, st := range steps {
				args := slices.Clone(st.args)
				for i := range args {
					if args[i] == "ID" {
						args[i] = id
					}
				}
				mine, theirs := labs[0].callWith(nil, st.input, args...), labs[1].callWith(nil, st.input, args...)
				if mine.code != st.code || theirs.code != st.code {
					t.Errorf("%q: exit code %d (%s); runc %d (%s); want %d", args, mine.code, mine.err, theirs.code, theirs.err, st.code)
				}
				compareOutputs(t, args, st.compare, mine, theirs)
			}
		})
	}
}

func compareOutputs(t *testing.T, args []string, how string, mine, theirs result) {
	t.Helper()
	switch how {
	case "":
	case "equal":
		if mine.out != theirs.out {
			t.Errorf("%q prints\n%s\nrunc\n%s", args, mine.out, theirs.out)
		}
	case "keys":
		if a, b := keys(mine.out), keys(theirs.out); !slices.Equal(a, b) {
			t.Errorf("%q has the members %q, runc %q", args, a, b)
		}
	default:
		for _, r := range []result{mine, theirs} {
			if !regexp.MustCompile(how).MatchString(r.out) {
				t.Errorf("%q prints %q, which does not match %q", args, r.out, how)
			}
		}
	}
}

var member = regexp.MustCompile(`"(\w+)":`)

// keys lists the members of JSON objects in their order.
func keys(text string) (list []string) {
	for _, m := range member.FindAllStringSubmatch(text, -1) {
		list = append(list, m[1])
	}
	return list
}
