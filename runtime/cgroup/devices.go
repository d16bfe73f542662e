package cgroup

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/weak"
)

// access is a set of the operations r, w and m (mknod), numbered as in the
// kernel's BPF_DEVCG_ACC_*.
type access uint8

const (
	mayMknod access = 1 << iota
	mayRead
	mayWrite
	mayAll = mayMknod | mayRead | mayWrite
)

func (a access) String() string {
	s := ""
	for _, l := range []struct {
		bit  access
		name string
	}{{mayRead, "r"}, {mayWrite, "w"}, {mayMknod, "m"}} {
		if a&l.bit != 0 {
			s += l.name
		}
	}
	return s
}

// anyNumber stands for "*".
const anyNumber = -1

// The kernel has 12 bits for a major and 20 for a minor number.
const (
	maxMajor = 1<<12 - 1
	maxMinor = 1<<20 - 1
)

// device names devices: a type 'b' or 'c' and two numbers or wildcards.
type device struct {
	kind         byte
	major, minor int64
}

func (d device) String() string {
	return fmt.Sprintf("%c %s:%s", d.kind, number(d.major), number(d.minor))
}

func number(n int64) string {
	if n == anyNumber {
		return "*"
	}
	return strconv.FormatInt(n, 10)
}

// covers reports whether every device that e names is one of d's.
func (d device) covers(e device) bool {
	return d.kind == e.kind && (d.major == anyNumber || d.major == e.major) && (d.minor == anyNumber || d.minor == e.minor)
}

func (d device) overlaps(e device) bool {
	return d.kind == e.kind && (d.major == anyNumber || e.major == anyNumber || d.major == e.major) &&
		(d.minor == anyNumber || e.minor == anyNumber || d.minor == e.minor)
}

// deviceSet is a filter in the form the v1 kernel keeps it: a default, and
// exceptions from it. The v2 program is made from the same form, so that one
// spec means the same on both.
type deviceSet struct {
	allow      bool // what holds for devices without an exception
	exceptions map[device]access
	listed     []device // the exceptions as they were named first: config-linux.md wants rules applied in order
}

// standardDevices are those the OCI spec promises to every container, with the
// right to make (not open) nodes of any device, which package managers do.
var standardDevices = []struct {
	device
	access
}{
	{device{'c', anyNumber, anyNumber}, mayMknod},
	{device{'b', anyNumber, anyNumber}, mayMknod},
	{device{'c', 1, 3}, mayAll},           // null
	{device{'c', 1, 5}, mayAll},           // zero
	{device{'c', 1, 7}, mayAll},           // full
	{device{'c', 1, 8}, mayAll},           // random
	{device{'c', 1, 9}, mayAll},           // urandom
	{device{'c', 5, 0}, mayAll},           // tty
	{device{'c', 5, 1}, mayAll},           // console
	{device{'c', 5, 2}, mayAll},           // ptmx
	{device{'c', 136, anyNumber}, mayAll}, // pts/*
}

// deviceRules turns a spec's rules into a set. What no rule names is denied, and
// the standard devices are allowed last, as runc and crun do.
func deviceRules(rules []specs.LinuxDeviceCgroup) (*deviceSet, error) {
	set := &deviceSet{exceptions: make(map[device]access, len(rules)+len(standardDevices))}
	for _, r := range rules {
		if err := set.rule(r); err != nil {
			return nil, err
		}
	}
	if set.allow {
		return set, nil // what is denied then, is denied by name
	}
	for _, d := range standardDevices {
		if err := set.add(d.device, d.access, true); err != nil {
			return nil, err
		}
	}
	return set, nil
}

// DeviceException is one entry of a filter in a form that others can read.
type DeviceException struct {
	Type         byte  // 'b' or 'c'
	Major, Minor int64 // -1: any
	Access       string
}

// DeviceExceptions returns what a specification's rules come to: what holds for devices
// that are not listed, and the list of those for which the opposite does.
func DeviceExceptions(rules []specs.LinuxDeviceCgroup) (allow bool, list []DeviceException, err error) {
	set, err := deviceRules(rules)
	if err != nil {
		return false, nil, err
	}
	for _, d := range set.inOrder() {
		list = append(list, DeviceException{d.kind, d.major, d.minor, set.exceptions[d].String()})
	}
	return set.allow, list, nil
}

func (s *deviceSet) rule(r specs.LinuxDeviceCgroup) error {
	acc := access(0)
	for _, c := range r.Access {
		switch c {
		case 'r':
			acc |= mayRead
		case 'w':
			acc |= mayWrite
		case 'm':
			acc |= mayMknod
		default:
			return fault.New(fault.Invalid, "device rule has access %q; it may only hold r, w and m", r.Access)
		}
	}
	if r.Access == "" {
		acc = mayAll
	}
	d := device{major: anyNumber, minor: anyNumber}
	for _, n := range []struct {
		name string
		from *int64
		max  int64
		to   *int64
	}{{"major", r.Major, maxMajor, &d.major}, {"minor", r.Minor, maxMinor, &d.minor}} {
		if n.from == nil || *n.from == anyNumber {
			continue
		}
		if *n.from < 0 || *n.from > n.max {
			return fault.New(fault.Invalid, "device rule has the %s number %d, which is not between 0 and %d", n.name, *n.from, n.max)
		}
		*n.to = *n.from
	}
	switch r.Type {
	case "b", "c":
		d.kind = r.Type[0]
		return s.add(d, acc, r.Allow)
	case "u":
		d.kind = 'c'
		return s.add(d, acc, r.Allow)
	case "", "a":
	default:
		return fault.New(fault.Invalid, "device rule has the type %q; it must be a, b or c", r.Type)
	}
	if d.major == anyNumber && d.minor == anyNumber && acc == mayAll {
		s.allow = r.Allow
		clear(s.exceptions)
		s.listed = nil
		return nil
	}
	// The v1 kernel takes any rule of type a for "everything", whatever else it
	// says; what the rule means is both types.
	for _, kind := range []byte{'b', 'c'} {
		d.kind = kind
		if err := s.add(d, acc, r.Allow); err != nil {
			return err
		}
	}
	return nil
}

// add works one rule into the set.
func (s *deviceSet) add(d device, acc access, allow bool) error {
	if allow != s.allow {
		if _, ok := s.exceptions[d]; !ok {
			s.listed = append(s.listed, d)
		}
		s.exceptions[d] |= acc
		return nil
	}
	// The rule takes back exceptions. The v1 kernel can only take back what was
	// said with the same numbers and silently ignores anything else, so a hole
	// in a wider exception is refused rather than left open.
	for e, has := range s.exceptions {
		switch {
		case has&acc == 0:
		case d.covers(e):
			if has &^= acc; has == 0 {
				delete(s.exceptions, e)
			} else {
				s.exceptions[e] = has
			}
		case d.overlaps(e) && !allow:
			return fault.New(fault.Invalid, "device rule %q cannot take back a part of %q; allow the devices one by one instead", d, e)
		case d.overlaps(e) && allow:
			return fault.New(fault.Invalid, "device rule %q cannot allow a part of the denied %q; deny the devices one by one instead", d, e)
		}
	}
	return nil
}

// inOrder lists the exceptions in the order of the rules that made them, which an
// administrator finds again in devices.list.
func (s *deviceSet) inOrder() []device {
	list := make([]device, 0, len(s.exceptions))
	for _, d := range s.listed {
		if _, ok := s.exceptions[d]; ok && !slices.Contains(list, d) {
			list = append(list, d)
		}
	}
	return list
}

// v1Writes returns what to write into devices.deny and devices.allow to get from
// the set that the group has to the one it shall have. Permissions are given
// before others are taken, so that a running container never misses one it keeps.
func (s *deviceSet) v1Writes(now *deviceSet) (list []setting) {
	add := func(allow bool, value string) {
		file, limit := "devices.deny", "device rule "
		if allow {
			file = "devices.allow"
		}
		list = append(list, setting{controller: "devices", file: file, value: value, limit: limit + strconv.Quote(value)})
	}
	have := now.exceptions
	if now.allow != s.allow {
		add(s.allow, "a")
		have = nil
	}
	more, less := []string(nil), []string(nil)
	for _, d := range s.inOrder() {
		if want := s.exceptions[d] &^ have[d]; want != 0 {
			more = append(more, d.String()+" "+want.String())
		}
	}
	for _, d := range now.inOrder() {
		if drop := have[d] &^ s.exceptions[d]; drop != 0 {
			less = append(less, d.String()+" "+drop.String())
		}
	}
	for _, rule := range more {
		add(!s.allow, rule)
	}
	for _, rule := range less {
		add(s.allow, rule)
	}
	return list
}

// parseDeviceList reads devices.list, which shows "a *:* rwm" for a group that
// allows by default and its exceptions otherwise.
func parseDeviceList(text string) (*deviceSet, error) {
	s := &deviceSet{exceptions: map[device]access{}}
	for line := range strings.Lines(text) {
		f := strings.FieldsFunc(line, func(c rune) bool { return c == ' ' || c == ':' || c == '\n' })
		if len(f) != 4 || len(f[0]) != 1 {
			return nil, fmt.Errorf("unexpected line %q in devices.list", line)
		}
		if f[0] == "a" {
			return &deviceSet{allow: true}, nil
		}
		r := specs.LinuxDeviceCgroup{Allow: true, Type: f[0], Access: f[3]}
		for i, to := range []**int64{&r.Major, &r.Minor} {
			if f[i+1] == "*" {
				continue
			}
			n, err := strconv.ParseInt(f[i+1], 10, 64)
			if err != nil {
				return nil, fmt.Errorf("unexpected line %q in devices.list", line)
			}
			*to = &n
		}
		if err := s.rule(r); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// applyDevices sets the device filter on whichever side this machine has it.
func (g *Group) applyDevices(s *deviceSet) error {
	p := g.with("devices")
	switch {
	case weak.Off("devices"):
		return nil
	case p != nil:
		return p.v1Devices(g.path, s)
	case g.layout == V2:
		return g.unified().bpfDevices(g.path, s)
	case s.allow && len(s.exceptions) == 0:
		return nil
	}
	// A container that can open every disk is not one.
	return fault.New(fault.Unavailable, "device rules of cgroup %s cannot be applied: the devices controller is not mounted; mount it, or boot with cgroup v2 only", g.path)
}

func (p *part) v1Devices(group string, s *deviceSet) error {
	text, err := readFile(p.dir() + "/devices.list")
	if err != nil {
		return fmt.Errorf("read the device rules of cgroup %s: %w", group, err)
	}
	now, err := parseDeviceList(string(text))
	if err != nil {
		return fmt.Errorf("read the device rules of cgroup %s: %w", group, err)
	}
	// One descriptor serves all rules of a file.
	file, fd := "", -1
	defer func() {
		if fd >= 0 {
			unix.Close(fd)
		}
	}()
	for _, w := range s.v1Writes(now) {
		name := p.dir() + "/" + w.file
		if w.file != file {
			if fd >= 0 {
				unix.Close(fd)
			}
			if fd, err = open(name, unix.O_WRONLY); err != nil {
				return refused(&w, name, w.value, err)
			}
			file = w.file
		}
		if err := writeTo(fd, w.value); err != nil {
			return refused(&w, name, w.value, err)
		}
	}
	return nil
}
