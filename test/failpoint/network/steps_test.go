//go:build failpoints

package network

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/moby/moby/api/types/container"

	"github.com/sampan-containers/sampan/kernel/failpoint"
	"github.com/sampan-containers/sampan/test/failpoint/steps"
	"github.com/sampan-containers/sampan/test/lab"
)

func TestMain(m *testing.M) { lab.Main(m) }

const (
	image = "sampan/box"
	// stays is published on stayPort all the time, the container of a work on workPort.
	stayPort, workPort, morePort = 18600, 18601, 18602
	inside                       = 8080
	// ready is I8: how soon a daemon must be there again.
	ready = 5 * time.Second
	// settles is how long leftovers may take to go after a start.
	settles = 10 * time.Second
)

// work is something a client asks for, while the daemon may die.
type work struct {
	name   string
	before [][]string // by a daemon that lives
	do     []string
	// again is what a client does after the kill to get what it wanted: like do, unless that is
	// done already.
	done func(*bench) bool
}

var run = []string{"run", "-d", "--name", "work", "--stop-timeout", "0", "--network", "shared", "-p", fmt.Sprintf("%d:%d", workPort, inside), image, "sleep", "1000"}

func works() []work {
	has := func(network string) func(*bench) bool {
		return func(b *bench) bool {
			c := b.inspect("work")
			return c != nil && c.NetworkSettings.Networks[network] != nil
		}
	}
	hasNot := func(network string) func(*bench) bool { return func(b *bench) bool { return !has(network)(b) } }
	publishes := func(want bool) func(*bench) bool {
		return func(b *bench) bool {
			c := b.inspect("work")
			return c != nil && slices.Contains(published(c), morePort) == want
		}
	}
	state := func(running bool) func(*bench) bool {
		return func(b *bench) bool { c := b.inspect("work"); return c != nil && c.State.Running == running }
	}
	gone := func(b *bench) bool { return b.inspect("work") == nil }
	network := func(want bool) func(*bench) bool {
		return func(b *bench) bool { return (b.d.Sampan("network", "inspect", "made").Code == 0) == want }
	}
	port := fmt.Sprintf("%d:%d", morePort, inside)
	alone := slices.Replace(slices.Clone(run), 6, 8) // on the default network, which has no names
	both := append(slices.Clone(run[:len(run)-3]), "--network", "second", image, "sleep", "1000")
	created := append([]string{"create"}, run[2:]...)
	return []work{
		{"start", [][]string{created}, []string{"start", "work"}, state(true)},
		{"run --rm", nil, []string{"run", "--rm", "--name", "work", "--network", "shared", image, "true"}, gone},
		{"stop", [][]string{run}, []string{"stop", "-t", "0", "work"}, state(false)},
		{"rm -f", [][]string{run}, []string{"rm", "-f", "work"}, gone},
		{"connect", [][]string{run}, []string{"network", "connect", "second", "work"}, has("second")},
		{"connect to the first network with names", [][]string{alone}, []string{"network", "connect", "--gw-priority", "1", "second", "work"}, has("second")},
		{"disconnect from the last network with names", [][]string{alone, {"network", "connect", "--gw-priority", "1", "second", "work"}}, []string{"network", "disconnect", "second", "work"}, hasNot("second")},
		{"connect to the way out", [][]string{run}, []string{"network", "connect", "--gw-priority", "1", "second", "work"}, has("second")},
		{"disconnect", [][]string{both}, []string{"network", "disconnect", "second", "work"}, hasNot("second")},
		{"disconnect from the way out", [][]string{both, {"network", "connect", "--gw-priority", "9", "third", "work"}}, []string{"network", "disconnect", "third", "work"}, hasNot("third")},
		{"port add", [][]string{run}, []string{"port", "add", "work", port}, publishes(true)},
		{"port rm", [][]string{run, {"port", "add", "work", port}}, []string{"port", "rm", "work", port}, publishes(false)},
		{"network create", nil, []string{"network", "create", "made"}, network(true)},
		{"network rm", [][]string{{"network", "create", "made"}}, []string{"network", "rm", "made"}, network(false)},
	}
}

// bench is the daemon with what is there all the time: three networks, and a
// container that a client is connected to by its published port.
type bench struct {
	t        *testing.T
	d        *lab.Daemon
	client   net.Conn
	answers  *bufio.Reader
	stays    *container.InspectResponse
	baseline []string
}

// TestKilledAtEveryStep: the daemon dies at each step that each work passes. The next
// one is ready soon, says only what is true of the kernel, lets the work be done, and
// in the end nothing is left over. What runs keeps its process, its address and its
// connections.
func TestKilledAtEveryStep(t *testing.T) {
	program := filepath.Join(t.TempDir(), "sampand")
	if out, err := exec.Command("go", "build", "-tags", "failpoints", "-o", program, "../../../cmd/sampand").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// A client that finds no daemon would start one, if no host is named.
	t.Setenv("SAMPAN_HOST", "unix:///run/sampan/sampan.sock")
	b := newBench(t, program)
	names := steps.In(t, "../../../network", "../../../container")
	tried := map[string]bool{}
	kills := 0
	for _, w := range works() {
		var passes []string
		t.Run(w.name, func(t *testing.T) {
			b.t = t
			passes = b.steps(w)
		})
		for _, step := range passes {
			t.Run(w.name+"/"+step, func(t *testing.T) {
				b.t = t
				if b.killedAt(w, step) {
					kills++
				} else {
					t.Error("the daemon was not killed there")
				}
			})
			tried[step] = true
		}
		b.t = t
		b.nothingLeft(w.name)
	}
	b.t = t
	for _, step := range names {
		if !tried[step] {
			t.Errorf("no work reaches the step %s", step)
		}
	}
	t.Logf("%d kills at %d steps", kills, len(tried))
}

func newBench(t *testing.T, program string) *bench {
	d := lab.Start(t, "--runtime-binary", lab.Bin(t, "sampan-runtime"), "--box-binary", lab.Bin(t, "sampan-box"))
	d.Program = program
	b := &bench{t: t, d: d}
	for _, name := range []string{"shared", "second", "third"} {
		d.Sampan("network", "create", name).Must(t)
	}
	d.Sampan("run", "-d", "--name", "stays", "--stop-timeout", "0", "--network", "shared", "--network", "second", "-p", fmt.Sprintf("%d:%d", stayPort, inside), image, "sleep", "100000").Must(t)
	err := d.Inside("stays").Do(func() error {
		ln, err := net.Listen("tcp", fmt.Sprintf(":%d", inside))
		if err != nil {
			return err
		}
		t.Cleanup(func() { ln.Close() })
		go echo(ln)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if b.client, err = net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", stayPort)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.client.Close() })
	b.answers = bufio.NewReader(b.client)
	b.stays = b.inspect("stays")
	b.baseline = lab.Things(t)
	return b
}

func echo(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			for r := bufio.NewReader(c); ; {
				line, err := r.ReadString('\n')
				if err != nil {
					return
				}
				if _, err := c.Write([]byte(line)); err != nil {
					return
				}
			}
		}()
	}
}

// steps does the work with a daemon that lives, and lists the steps that it passes.
func (b *bench) steps(w work) (passes []string) {
	seen := filepath.Join(b.t.TempDir(), "seen")
	if b.killedAt(w, "", failpoint.SeenEnv+"="+seen) {
		b.t.Error("the daemon died by itself")
	}
	raw, _ := os.ReadFile(seen)
	passes = strings.Fields(string(raw))
	slices.Sort(passes)
	return slices.Compact(passes)
}

// killedAt does the work with a daemon that dies at the step; false = it did not.
func (b *bench) killedAt(w work, step string, env ...string) bool {
	t := b.t
	for _, args := range w.before {
		b.d.Sampan(args...).Must(t)
	}
	for _, pair := range append(env, failpoint.Env+"="+step) {
		name, value, _ := strings.Cut(pair, "=")
		if err := os.Setenv(name, value); err != nil {
			t.Fatal(err)
		}
	}
	b.d.Restart()
	_ = os.Unsetenv(failpoint.Env)
	_ = os.Unsetenv(failpoint.SeenEnv)
	client := exec.Command(lab.Bin(t, "sampan"), w.do...) // run waits for the next daemon
	var said strings.Builder
	client.Stderr = &said
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- client.Wait() }()
	var outcome error
	waiting := true
	// What goes on behind the answer may pass there too.
	for end := time.Now().Add(lab.Scale(5 * time.Second)); !b.d.Dead() && time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		select {
		case outcome = <-ended:
			waiting = false
			if outcome == nil { // otherwise it is dying
				end = time.Now().Add(50 * time.Millisecond)
			}
		default:
		}
	}
	killed := b.d.Dead()
	b.d.Kill()
	began := time.Now()
	b.d.Restart()
	lab.Eventually(t, ready, "the next daemon answers", func() bool { return b.d.Sampan("ps").Code == 0 })
	if took := time.Since(began); took > lab.Scale(ready) {
		t.Errorf("the next daemon is ready after %v", took)
	}
	if waiting {
		outcome = <-ended
	}
	if !killed && outcome != nil {
		t.Errorf("without a kill: %v, %s", outcome, said.String())
	}
	b.true("after the kill")
	if !w.done(b) {
		if again := b.d.Sampan(w.do...); again.Code != 0 && w.name == "run --rm" {
			// The name may be that of what the kill left: it goes by itself, or by rm.
			b.d.Sampan("rm", "-f", "work")
			b.d.Sampan(w.do...).Must(t)
		} else {
			again.Must(t)
		}
	}
	lab.Eventually(t, settles, "the work is done", func() bool { return w.done(b) })
	b.true("after the retry")
	b.cleanUp()
	return killed
}

// true holds what the daemon says against what is there.
func (b *bench) true(when string) {
	t := b.t
	t.Helper()
	if _, err := fmt.Fprintln(b.client, when); err != nil {
		t.Fatalf("%s: the connection is cut: %v", when, err)
	}
	_ = b.client.SetReadDeadline(time.Now().Add(lab.Scale(5 * time.Second)))
	if line, err := b.answers.ReadString('\n'); err != nil || line != when+"\n" {
		t.Fatalf("%s: the connection answers %q, %v", when, line, err)
	}
	now := b.inspect("stays")
	if now == nil || now.State.Pid != b.stays.State.Pid || now.RestartCount != 0 {
		t.Fatalf("%s: the running container is %+v", when, now)
	}
	for name, n := range b.stays.NetworkSettings.Networks {
		if is := now.NetworkSettings.Networks[name]; is == nil || is.IPAddress != n.IPAddress {
			t.Errorf("%s: the running container is in %s with %+v, was %s", when, name, is, n.IPAddress)
		}
	}
	b.inside(when, now)
	if w := b.inspect("work"); w != nil {
		b.inside(when, w)
		for _, port := range []uint16{workPort, morePort} {
			says := slices.Contains(published(w), port)
			if is := b.reaches(w, port); is != says {
				t.Errorf("%s: port %d of the container is reached: %v; inspect says %v", when, port, is, says)
			}
		}
	}
}

// inside compares the addresses of a running container with what inspect says, and tries
// each of its networks.
func (b *bench) inside(when string, c *container.InspectResponse) {
	t := b.t
	t.Helper()
	if !c.State.Running {
		return
	}
	var want []string
	for _, n := range c.NetworkSettings.Networks {
		want = append(want, netip.PrefixFrom(n.IPAddress, n.IPPrefixLen).String())
	}
	place := lab.At(t, fmt.Sprint(c.State.Pid))
	is := func() (got []string) {
		for line := range strings.Lines(place.Run(t, "ip", "-o", "-4", "addr").Must(t) + "\n") {
			if f := strings.Fields(line); len(f) > 3 && f[1] != "lo" {
				got = append(got, f[3])
			}
		}
		slices.Sort(got)
		return got
	}
	slices.Sort(want)
	// A link that was to go may be swept a moment after the start.
	for end := time.Now().Add(lab.Scale(3 * time.Second)); !slices.Equal(is(), want) && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond)
	}
	if got := is(); !slices.Equal(got, want) {
		t.Errorf("%s: %s has the addresses %v; inspect says %v", when, c.Name, got, want)
	}
	for name, n := range c.NetworkSettings.Networks {
		// Nobody listens there: it is reached if the host refuses.
		err := place.Do(func() error {
			conn, err := net.DialTimeout("tcp", netip.AddrPortFrom(n.Gateway, 9).String(), 2*time.Second)
			if err == nil {
				return conn.Close()
			}
			return err
		})
		if !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s: %s does not reach the gateway of %s: %v", when, c.Name, name, err)
		}
	}
	way := func() string { return strings.TrimSpace(place.Run(t, "ip", "route", "show", "default").Must(t)) }
	gateway := "default via " + gatewayOf(c) + " "
	for end := time.Now().Add(lab.Scale(settles)); !strings.HasPrefix(way()+" ", gateway) && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond)
	}
	if got := way(); !strings.HasPrefix(got+" ", gateway) || strings.Contains(got, "\n") {
		t.Errorf("%s: the way out of %s: %q; by its networks it is %q", when, c.Name, got, gateway)
	}
	b.names(when, c, place)
}

// gatewayOf is the router of the network that the container's way out goes by.
func gatewayOf(c *container.InspectResponse) string {
	var first string
	for name, n := range c.NetworkSettings.Networks {
		if best := c.NetworkSettings.Networks[first]; best == nil || n.GwPriority > best.GwPriority || n.GwPriority == best.GwPriority && name < first {
			first = name
		}
	}
	return c.NetworkSettings.Networks[first].Gateway.String()
}

// names asks the resolver of a container that is in a network with names for the
// container itself, as a program that reads resolv.conf does.
func (b *bench) names(when string, c *container.InspectResponse, place lab.Place) {
	t := b.t
	t.Helper()
	named := slices.ContainsFunc([]string{"shared", "second", "third"}, func(n string) bool { return c.NetworkSettings.Networks[n] != nil })
	const server = "127.0.0.11"
	ask := func() error {
		conf := b.d.Sampan("exec", strings.TrimPrefix(c.Name, "/"), "cat", "/etc/resolv.conf")
		if conf.Code != 0 || strings.Contains(conf.Out, server) != named {
			return fmt.Errorf("resolv.conf is %q, %s", conf.Out, conf.Err)
		}
		if !named {
			return nil
		}
		q := new(dns.Msg).SetQuestion(dns.Fqdn(strings.TrimPrefix(c.Name, "/")), dns.TypeA)
		return place.Do(func() error {
			client := dns.Client{Timeout: time.Second}
			m, _, err := client.Exchange(q, server+":53")
			if err == nil && len(m.Answer) == 0 {
				err = fmt.Errorf("no answer: %s", dns.RcodeToString[m.Rcode])
			}
			return err
		})
	}
	err := ask()
	for end := time.Now().Add(lab.Scale(settles)); err != nil && time.Now().Before(end); err = ask() {
		time.Sleep(20 * time.Millisecond)
	}
	if err != nil {
		t.Errorf("%s: names in %s, named %v: %v", when, c.Name, named, err)
	}
}

// reaches serves in the container and asks its port of the host.
func (b *bench) reaches(c *container.InspectResponse, port uint16) bool {
	if !c.State.Running {
		return false
	}
	var ln net.Listener
	err := lab.At(b.t, fmt.Sprint(c.State.Pid)).Do(func() (err error) {
		ln, err = net.Listen("tcp", fmt.Sprintf(":%d", inside))
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	defer ln.Close()
	go echo(ln)
	conn, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), time.Second)
	if err != nil {
		return false
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	_, _ = fmt.Fprintln(conn, "hello")
	line, err := bufio.NewReader(conn).ReadString('\n')
	return err == nil && line == "hello\n"
}

// cleanUp removes what the work made; its ports are free then, and no rule has them.
func (b *bench) cleanUp() {
	t := b.t
	if b.inspect("work") != nil {
		b.d.Sampan("rm", "-f", "work").Must(t)
	}
	if b.d.Sampan("network", "inspect", "made").Code == 0 {
		b.d.Sampan("network", "rm", "made").Must(t)
	}
	for _, port := range []uint16{workPort, morePort} {
		ln, err := net.Listen("tcp", fmt.Sprintf("0.0.0.0:%d", port))
		if err != nil {
			t.Errorf("port %d is not free at the end: %v", port, err)
			continue
		}
		ln.Close()
	}
	if rules := lab.Run(t, nil, "nft", "list", "table", "inet", "sampan0").Must(t); strings.Contains(rules, fmt.Sprint(workPort)) || strings.Contains(rules, fmt.Sprint(morePort)) {
		t.Errorf("rules at the end:\n%s", rules)
	}
}

// nothingLeft waits until the kernel has what it had before the works.
func (b *bench) nothingLeft(work string) {
	t := b.t
	var now []string
	for end := time.Now().Add(lab.Scale(settles)); ; time.Sleep(20 * time.Millisecond) {
		if now = lab.Things(t); slices.Equal(now, b.baseline) {
			break
		}
		if time.Now().After(end) {
			t.Errorf("%s: at the end there is\n%s\nat the beginning there was\n%s", work, strings.Join(now, "\n"), strings.Join(b.baseline, "\n"))
			break
		}
	}
}

func (b *bench) inspect(name string) *container.InspectResponse {
	b.t.Helper()
	r := b.d.Sampan("inspect", "--type", "container", name)
	if r.Code != 0 {
		return nil
	}
	var list []container.InspectResponse
	if err := json.Unmarshal([]byte(r.Out), &list); err != nil || len(list) != 1 {
		b.t.Fatalf("inspect %s: %v\n%s", name, err, r.Out)
	}
	return &list[0]
}

// published are the host ports that inspect says a container is reached by now.
func published(c *container.InspectResponse) (ports []uint16) {
	for _, list := range c.NetworkSettings.Ports {
		for _, binding := range list {
			var n uint16
			if _, err := fmt.Sscan(binding.HostPort, &n); err == nil && binding.HostIP.Is4() {
				ports = append(ports, n)
			}
		}
	}
	return ports
}
