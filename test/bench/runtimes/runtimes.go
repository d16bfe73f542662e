// Package runtimes times sampan-runtime beside runc, crun and the lower bound in C.
package runtimes

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/moby/profiles/seccomp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/test/bench/clock"
)

// rest is how long the machine is left alone before a runtime's command whose latency is
// measured. What the one before has left to the kernel (the end of its network namespace,
// RCU grace periods) would count for the next one, another runtime's, otherwise; the
// figure in a row is there for that. An engine's commands wait until what the ones
// before have left is gone.
const rest = 50 * time.Millisecond

const (
	rounds      = 40
	many        = 200 // commands of the figure in a row
	goneWait    = 120 * time.Second
	manyMounts  = 1000
	createLimit = 6 << 10 // KiB of memory that `create` may need at most
)

// row is one line of the table of runtimes: commands of one container, whose id
// stands for "ID".
type row struct {
	name    string
	bundle  string
	before  [][]string // not timed, once for all rounds
	timed   [][]string
	after   [][]string
	targets map[string][]float64 // a peer's median over ours; of the floor ours over its
	floor   bool
}

// result has the medians of a row by runtime: one command at rest, and one of many
// in a row; zero where the row has none.
type result struct {
	row             row
	latency, inARow map[string]time.Duration
}

var names = []string{"sampan", "runc", "crun"}

// bench has what is measured on bundles of their own, with their state on a tmpfs, as /run is.
type bench struct {
	dir, state string
	id         int
}

func newBench(dir, tar string) (*bench, error) {
	b := &bench{dir: dir, state: filepath.Join(dir, "state")}
	root := filepath.Join(dir, "rootfs")
	for _, d := range []string{root, b.state} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return nil, err
		}
	}
	if err := unix.Mount("bench", b.state, "tmpfs", 0, "mode=700"); err != nil {
		return nil, err
	}
	if out, err := exec.Command("tar", "-C", root, "-xf", tar).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("unpack the bundle: %w: %s", err, out)
	}
	for name, change := range map[string]func(*specs.Spec) error{
		"true":   func(*specs.Spec) error { return nil },
		"sleep":  func(s *specs.Spec) error { s.Process.Args = []string{"/bin/sleep", "3600"}; return nil },
		"docker": b.likeDocker,
	} {
		if err := b.bundle(name, change); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// bundle makes an OCI bundle with `runc spec`'s default config that runs /bin/true.
func (b *bench) bundle(name string, change func(*specs.Spec) error) error {
	dir := filepath.Join(b.dir, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	cmd := exec.Command("runc", "spec")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("runc spec: %w: %s", err, out)
	}
	file := filepath.Join(dir, "config.json")
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var spec specs.Spec
	if err := json.Unmarshal(raw, &spec); err != nil {
		return err
	}
	spec.Process.Terminal, spec.Process.Args, spec.Root.Path = false, []string{"/bin/true"}, filepath.Join(b.dir, "rootfs")
	if err := change(&spec); err != nil {
		return err
	}
	if raw, err = json.Marshal(spec); err != nil {
		return err
	}
	return os.WriteFile(file, raw, 0o600)
}

// likeDocker gives a specification what Docker's has: the default seccomp profile, and
// files and volumes up to 30 mounts.
func (b *bench) likeDocker(s *specs.Spec) error {
	profile, err := seccomp.GetDefaultProfile(s)
	if err != nil {
		return err
	}
	s.Linux.Seccomp = profile
	for i := len(s.Mounts); i < 30; i++ {
		source := filepath.Join(b.dir, "volume"+strconv.Itoa(i))
		if err := os.Mkdir(source, 0o755); err != nil {
			return err
		}
		place := "/tmp/volume" + strconv.Itoa(i)
		if err := os.MkdirAll(filepath.Join(b.dir, "rootfs", place), 0o755); err != nil {
			return err
		}
		s.Mounts = append(s.Mounts, specs.Mount{Destination: place, Type: "bind", Source: source, Options: []string{"rbind", "rprivate"}})
	}
	return nil
}

func rows() []row {
	run := [][]string{{"run", "ID"}}
	return []row{
		{name: "`run` of /bin/true, default spec", bundle: "true", timed: run, floor: true,
			targets: map[string][]float64{"runc": {6, 8}, "crun": {2, 3}, "floor": {3, 2}}},
		{name: "`create`, `start`, `delete --force`", bundle: "sleep", targets: map[string][]float64{"runc": {5}},
			timed: [][]string{{"create", "ID"}, {"start", "ID"}, {"delete", "--force", "ID"}}},
		{name: "`exec` of /bin/true", bundle: "sleep", targets: map[string][]float64{"runc": {8}},
			before: [][]string{{"create", "ID"}, {"start", "ID"}}, timed: [][]string{{"exec", "ID", "/bin/true"}},
			after: [][]string{{"delete", "--force", "ID"}}},
		{name: "`run`, Docker's seccomp profile and 30 mounts", bundle: "docker", timed: run},
		{name: mountsRow, bundle: "true", timed: run},
	}
}

const mountsRow = "`run` on a host with 1,000 mounts"

// argv is a command of a runtime.
func (b *bench) argv(name, bundle, id string, verb []string) []string {
	program := name
	if name == "sampan" {
		program = "bin/sampan-runtime"
	}
	argv := []string{program, "--root", filepath.Join(b.state, name), verb[0]}
	if verb[0] == "run" || verb[0] == "create" {
		argv = append(argv, "--bundle", filepath.Join(b.dir, bundle))
	}
	for _, arg := range verb[1:] {
		if arg == "ID" {
			arg = id
		}
		argv = append(argv, arg)
	}
	return argv
}

// do runs commands without a pipe: a container that stays would keep it open.
func do(argv []string) error {
	cmd := exec.Command(argv[0], argv[1:]...)
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(argv, " "), err)
	}
	return nil
}

func (b *bench) all(r row, name, id string, verbs [][]string) error {
	for _, verb := range verbs {
		argv := []string{".cache/floor", filepath.Join(b.dir, "rootfs"), "/bin/true"}
		if name != "floor" {
			argv = b.argv(name, r.bundle, id, verb)
		}
		if err := do(argv); err != nil {
			return err
		}
	}
	return nil
}

// measure times a row, paired round by round, and then as many in a row of each.
func (b *bench) measure(r row) (res result, err error) {
	res = result{r, map[string]time.Duration{}, map[string]time.Duration{}}
	each := names
	if r.floor {
		each = append(each[:len(each):len(each)], "floor")
	}
	ids := map[string]string{}
	next := func(name string) string {
		if id, ok := ids[name]; ok {
			return id
		}
		b.id++
		return "bench" + strconv.Itoa(b.id)
	}
	if r.before != nil {
		for _, name := range each {
			id := next(name)
			if err := b.all(r, name, id, r.before); err != nil {
				return res, err
			}
			ids[name] = id
		}
		defer func() {
			for _, name := range each {
				if e := b.all(r, name, ids[name], r.after); e != nil && err == nil {
					err = e
				}
			}
		}()
	}
	once := func(name string) (time.Duration, error) {
		id := next(name)
		return clock.Timed(func() error { return b.all(r, name, id, r.timed) })
	}
	all := map[string][]time.Duration{}
	for round := range rounds + 1 { // the first warms up
		for _, name := range each {
			time.Sleep(rest)
			d, err := once(name)
			if err != nil {
				return res, err
			}
			if round > 0 {
				all[name] = append(all[name], d)
			}
		}
	}
	for _, name := range each {
		res.latency[name] = clock.Median(all[name])
		time.Sleep(rest)
		d, err := clock.Timed(func() error {
			for range many {
				if _, err := once(name); err != nil {
					return err
				}
			}
			return b.waitGone(name, len(ids))
		})
		if err != nil {
			return res, err
		}
		res.inARow[name] = d / many
	}
	return res, nil
}

// waitGone returns when a runtime has no more than so many containers on record.
func (b *bench) waitGone(name string, left int) error {
	for end := time.Now().Add(goneWait); ; time.Sleep(time.Millisecond) {
		entries, err := os.ReadDir(filepath.Join(b.state, name))
		if err != nil && !os.IsNotExist(err) {
			return err
		}
		if len(entries) <= left {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s: %d containers are left", name, len(entries))
		}
	}
}

// peak returns the most memory that `create` needs, in KiB: resident, of its largest
// process. The bench's own memory would count for what it starts, so time(1) starts it.
func (b *bench) peak(name string) (int, error) {
	b.id++
	id := "bench" + strconv.Itoa(b.id)
	file := filepath.Join(b.dir, "peak")
	if err := do(append([]string{"/usr/bin/time", "-f", "%M", "-o", file}, b.argv(name, "sleep", id, []string{"create", "ID"})...)); err != nil {
		return 0, err
	}
	if err := do(b.argv(name, "sleep", id, []string{"delete", "--force", "ID"})); err != nil {
		return 0, err
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(raw)))
}

// crowd mounts many file systems in this mount namespace; free takes them away.
func (b *bench) crowd() (free func(), err error) {
	dir := filepath.Join(b.dir, "crowd")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	if err := unix.Mount("bench", dir, "tmpfs", 0, ""); err != nil {
		return nil, err
	}
	free = func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }
	for i := range manyMounts {
		place := filepath.Join(dir, strconv.Itoa(i))
		if err := os.Mkdir(place, 0o755); err != nil {
			return free, err
		}
		if err := unix.Mount(place, place, "", unix.MS_BIND, ""); err != nil {
			return free, err
		}
	}
	return free, nil
}
