package systemd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/runtime/cgroup"
	"github.com/sampan-containers/sampan/runtime/launch"
)

// Options say what the unit is for.
type Options struct {
	Name        Name
	ID          string                // the container's, for the unit's description
	Resources   *specs.LinuxResources // nil: none
	Annotations map[string]string     // those that begin with org.systemd.property. are properties
	Warn        func(string)          // nil drops warnings
	Rootless    bool                  // see cgroup.Options
}

// Scope is a unit that has been started.
type Scope struct {
	Unit  string
	Group *cgroup.Group

	holder *launch.Child
}

// Create starts the scope and applies the limits to its group. Release it when the
// container is inside. A unit of that name that exists is fault.Conflict, no systemd
// fault.Unavailable. On failure nothing is left.
func Create(ctx context.Context, o Options) (_ *Scope, retErr error) {
	if err := o.Name.check(); err != nil {
		return nil, err
	}
	layout, err := cgroup.Mode()
	if err != nil {
		return nil, err
	}
	list, err := o.properties(layout)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c, err := dial(ctx)
	if err != nil {
		return nil, err
	}
	defer c.close()
	s := &Scope{Unit: o.Name.Unit}
	if s.holder, err = hold(); err != nil {
		return nil, fmt.Errorf("start scope %s: %w", s.Unit, err)
	}
	defer func() {
		if retErr != nil {
			s.Release()
			_ = c.stop(s.Unit)
		}
	}()
	list = append(list, prop{"Slice", textValue(o.Name.slice(c.user))}, prop{"PIDs", pidsValue{uint32(s.holder.Pid)}})
	if err := c.start(ctx, s.Unit, list); err != nil {
		return nil, err
	}
	// Where systemd has put it is better asked than computed: its own root may be a
	// group of another systemd.
	path, err := groupOf(s.holder.Pid, layout)
	if err != nil {
		return nil, err
	}
	if !strings.HasSuffix(path, "/"+s.Unit) {
		return nil, fmt.Errorf("start scope %s: systemd has put its process into the group %s", s.Unit, path)
	}
	s.Group, err = cgroup.Create(path, o.Resources, cgroup.Options{Warn: o.Warn, Member: s.holder.Pid, Rootless: o.Rootless})
	return s, err
}

// Release ends the process that has held the scope. It may be called twice.
func (s *Scope) Release() {
	if s.holder != nil {
		s.holder.Kill()
		s.holder.PidFD.Close()
		s.holder.Close()
		s.holder = nil
	}
}

// hold starts a process that waits, and that ends with this one.
func hold() (*launch.Child, error) {
	b := launch.NewBuilder()
	defer b.Release()
	b.At("hold the scope")
	b.Prctl(unix.PR_SET_PDEATHSIG, launch.Int(int(unix.SIGKILL)), launch.Int(0), launch.Int(0), launch.Int(0))
	again := b.Label()
	b.Mark(again)
	// A signal only interrupts it. There is no pause on arm64.
	b.Call(unix.SYS_PPOLL, launch.Int(0), launch.Int(0), launch.Int(0), launch.Int(0), launch.Int(0)).Ignore()
	b.Goto(again)
	program, err := b.Finish()
	if err != nil {
		return nil, err
	}
	return program.Start(launch.StartOptions{})
}

func (o *Options) properties(layout cgroup.Layout) ([]prop, error) {
	list := []prop{
		{"Description", textValue("Sampan container " + o.ID)},
		// Below the scope systemd keeps its hands off.
		{"Delegate", boolValue(true)},
		{"DefaultDependencies", boolValue(false)},
		{"CPUAccounting", boolValue(true)},
		{"MemoryAccounting", boolValue(true)},
		{"TasksAccounting", boolValue(true)},
		// A scope that ended badly goes like any other.
		{"CollectMode", textValue("inactive-or-failed")},
	}
	if layout == cgroup.V2 {
		list = append(list, prop{"IOAccounting", boolValue(true)})
	} else {
		list = append(list, prop{"BlockIOAccounting", boolValue(true)})
	}
	limits, err := resources(o.Resources, layout)
	if err != nil {
		return nil, err
	}
	var rules []specs.LinuxDeviceCgroup
	if o.Resources != nil {
		rules = o.Resources.Devices
	}
	filter, err := devices(rules)
	if err != nil {
		return nil, err
	}
	more, err := annotated(o.Annotations)
	if err != nil {
		return nil, err
	}
	return append(append(append(list, limits...), filter...), more...), nil
}

// unitGoes bounds how long a unit of the same name that is just ending is waited for.
const unitGoes = 2 * time.Second

func (c *conn) start(ctx context.Context, unit string, list []prop) error {
	begin := time.Now()
	for {
		m := c.manager("StartTransientUnit", "ssa(sv)a(sa(sv))")
		m.body.string(unit)
		m.body.string("fail")
		m.body.props(list)
		m.body.array(8, func() {})
		err := c.job(m)
		switch {
		case err == nil:
			return nil
		case is(err, "UnitExists"):
			// Of a container that has just ended, or one that failed and was kept.
			_ = c.reset(unit)
			if time.Since(begin) < unitGoes && ctx.Err() == nil {
				time.Sleep(10 * time.Millisecond)
				continue
			}
			return fault.New(fault.Conflict, "start scope %s: systemd has a unit of that name; end it (systemctl stop %s) or choose another container id or cgroup path", unit, unit)
		case is(err, "AccessDenied"), is(err, "InteractiveAuthorizationRequired"):
			return fault.New(fault.Forbidden, "start scope %s: systemd does not allow it: %w", unit, err)
		case is(err, "PropertyReadOnly"), is(err, "UnknownProperty"), is(err, "InvalidArgs"):
			return fault.New(fault.Invalid, "start scope %s: systemd refuses a property: %w", unit, err)
		}
		return fmt.Errorf("start scope %s by systemd: %w", unit, err)
	}
}

func (c *conn) reset(unit string) error {
	m := c.manager("ResetFailedUnit", "s")
	m.body.string(unit)
	_, err := c.call(m)
	return err
}

func (c *conn) stop(unit string) error {
	m := c.manager("StopUnit", "ss")
	m.body.string(unit)
	m.body.string("replace")
	if err := c.job(m); err != nil && !is(err, "NoSuchUnit") {
		return fmt.Errorf("stop scope %s by systemd: %w", unit, err)
	}
	_ = c.reset(unit) // as a rule it is gone
	return nil
}

// Stop ends a unit, with whatever is still in it, and waits until systemd has
// forgotten it. A unit that does not exist is no error.
func Stop(ctx context.Context, unit string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c, err := dial(ctx)
	if err != nil {
		return fmt.Errorf("stop scope %s: %w", unit, err)
	}
	defer c.close()
	return c.stop(unit)
}

// Update applies the limits that res names to a unit and to its group. What the group
// would refuse is found before systemd is told.
func Update(ctx context.Context, unit string, g *cgroup.Group, res *specs.LinuxResources) error {
	if res == nil {
		return nil
	}
	if err := g.Check(res); err != nil {
		return err
	}
	layout, err := cgroup.Mode()
	if err != nil {
		return err
	}
	list, err := resources(res, layout)
	if err != nil {
		return err
	}
	if len(res.Devices) > 0 {
		filter, err := devices(res.Devices)
		if err != nil {
			return err
		}
		list = append(list, filter...)
	}
	if len(list) > 0 {
		if err := setProperties(ctx, unit, list); err != nil {
			return err
		}
	}
	return g.Update(res)
}

func setProperties(ctx context.Context, unit string, list []prop) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c, err := dial(ctx)
	if err != nil {
		return fmt.Errorf("update scope %s: %w", unit, err)
	}
	defer c.close()
	m := c.manager("SetUnitProperties", "sba(sv)")
	m.body.string(unit)
	m.body.bool(true) // until the next boot
	m.body.props(list)
	_, err = c.call(m)
	switch {
	case err == nil:
		return nil
	case is(err, "NoSuchUnit"):
		return fault.New(fault.NotFound, "update scope %s: systemd does not know it any more", unit)
	}
	return fmt.Errorf("update scope %s by systemd: %w", unit, err)
}

// Root is the group of the manager that is responsible for this process, below which
// slices lie.
func Root(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c, err := dial(ctx)
	if err != nil {
		return "", err
	}
	defer c.close()
	root, err := c.text("ControlGroup")
	if err != nil {
		return "", fmt.Errorf("ask systemd for its control group: %w", err)
	}
	return "/" + strings.TrimPrefix(root, "/"), nil
}

// groupOf reads where a process is: on v2 in the one hierarchy, else in systemd's.
func groupOf(pid int, layout cgroup.Layout) (string, error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(data)) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(f) != 3 {
			continue
		}
		if f[0] == "0" && f[1] == "" && layout == cgroup.V2 || f[1] == "name=systemd" {
			return f[2], nil
		}
	}
	return "", errors.New("systemd's own control group hierarchy is not mounted")
}
