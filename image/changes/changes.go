// Package changes applies the values of --change, which are lines of a
// Dockerfile, to the config of an image: import and commit take them. All of it is
// untrusted text; every failure is fault.Invalid.
package changes

import (
	"encoding/json"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
)

const (
	// Max bounds the text of all --change options together.
	Max = 256 << 10
	// maxPorts bounds what one EXPOSE may list: all ports there are.
	maxPorts = 1 << 16
)

// change is one Dockerfile instruction being applied to a config.
type change struct {
	cfg    *dockerspec.DockerOCIImageConfig
	name   string
	args   string
	cmdSet *bool // a CMD of the same request survives a later ENTRYPOINT
}

// instruction returns how an instruction is applied that describes an image
// instead of making files, or nil.
func instruction(name string) func(*change) error {
	switch name {
	case "CMD":
		return (*change).cmd
	case "ENTRYPOINT":
		return (*change).entrypoint
	case "ENV":
		return (*change).env
	case "EXPOSE":
		return (*change).expose
	case "HEALTHCHECK":
		return (*change).healthcheck
	case "LABEL":
		return (*change).label
	case "ONBUILD":
		return (*change).onbuild
	case "STOPSIGNAL":
		return (*change).stopsignal
	case "USER":
		return (*change).user
	case "VOLUME":
		return (*change).volume
	case "WORKDIR":
		return (*change).workdir
	}
	return nil
}

// building are the instructions that a Dockerfile knows and --change refuses.
var building = []string{"ADD", "ARG", "COPY", "FROM", "MAINTAINER", "RUN", "SHELL"}

// Apply applies the values of --change, which are Dockerfile lines.
// Every failure is fault.Invalid.
func Apply(cfg *dockerspec.DockerOCIImageConfig, changes []string) error {
	text := strings.Join(changes, "\n")
	if len(text) > Max {
		return fault.New(fault.Invalid, "--change: %d bytes are more than the limit of %d", len(text), Max)
	}
	cmdSet := false
	for _, line := range logicalLines(text) {
		name, args, _ := strings.Cut(line, " ")
		if i := strings.IndexAny(line, " \t"); i >= 0 {
			name, args = line[:i], strings.TrimSpace(line[i:])
		}
		name = strings.ToUpper(name)
		apply := instruction(name)
		switch {
		case apply == nil && slices.Contains(building, name):
			return fault.New(fault.Invalid, "%s is not a valid change command (it can only be used in a build)", strings.ToLower(name))
		case apply == nil:
			return fault.New(fault.Invalid, "--change: unknown instruction: %s", name)
		case args == "":
			return fault.New(fault.Invalid, "--change: %s requires at least one argument", name)
		}
		if err := apply(&change{cfg: cfg, name: name, args: args, cmdSet: &cmdSet}); err != nil {
			return err
		}
	}
	return nil
}

// logicalLines joins lines that end in a backslash and drops comments.
func logicalLines(text string) []string {
	var lines []string
	var b strings.Builder
	for line := range strings.SplitSeq(text, "\n") {
		trimmed := strings.TrimSpace(line)
		if strings.HasPrefix(trimmed, "#") || b.Len() == 0 && trimmed == "" {
			continue
		}
		if body, more := strings.CutSuffix(trimmed, `\`); more {
			b.WriteString(body)
			continue
		}
		b.WriteString(trimmed)
		lines = append(lines, b.String())
		b.Reset()
	}
	if b.Len() > 0 {
		lines = append(lines, b.String())
	}
	return lines
}

func (c *change) invalid(format string, args ...any) error {
	return fault.New(fault.Invalid, "--change: "+c.name+": "+format, args...)
}

// command reads the exec form, a JSON array of strings, or the shell form.
func (c *change) command(text string) []string {
	if list, ok := jsonList(text); ok {
		return list
	}
	shell := c.cfg.Shell
	if len(shell) == 0 {
		shell = []string{"/bin/sh", "-c"}
	}
	return append(slices.Clone(shell), text)
}

// jsonList reads a JSON array of strings; anything else is not one.
func jsonList(text string) ([]string, bool) {
	if !strings.HasPrefix(text, "[") {
		return nil, false
	}
	var list []string
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return nil, false
	}
	return list, true
}

func (c *change) cmd() error {
	c.cfg.Cmd = c.command(c.args)
	*c.cmdSet = true
	return nil
}

func (c *change) entrypoint() error {
	c.cfg.Entrypoint = c.command(c.args)
	if !*c.cmdSet {
		c.cfg.Cmd = nil // it was meant for another entrypoint
	}
	return nil
}

type pair struct{ key, value string }

// pairs reads `a=b c="d e"`, or the old form `a all the rest`.
func (c *change) pairs() ([]pair, error) {
	words := splitWords(c.args)
	if !strings.Contains(words[0], "=") {
		key, value, found := strings.Cut(c.args, " ")
		if !found {
			return nil, c.invalid("must have two arguments (name=value)")
		}
		value, err := c.expand(strings.TrimSpace(value))
		return []pair{{key, value}}, err
	}
	var list []pair
	for _, word := range words {
		key, value, found := strings.Cut(word, "=")
		if !found {
			return nil, c.invalid("cannot find = in %q; it must be of the form name=value", word)
		}
		key, err := c.expand(key)
		if err != nil {
			return nil, err
		}
		if value, err = c.expand(value); err != nil {
			return nil, err
		}
		if key == "" {
			return nil, c.invalid("names cannot be blank")
		}
		list = append(list, pair{key, value})
	}
	return list, nil
}

func (c *change) env() error {
	list, err := c.pairs()
	if err != nil {
		return err
	}
	for _, p := range list {
		entry := p.key + "=" + p.value
		i := slices.IndexFunc(c.cfg.Env, func(have string) bool { return strings.HasPrefix(have, p.key+"=") })
		if i < 0 {
			c.cfg.Env = append(c.cfg.Env, entry)
		} else {
			c.cfg.Env[i] = entry
		}
	}
	return nil
}

func (c *change) label() error {
	list, err := c.pairs()
	if err != nil {
		return err
	}
	labels := maps.Clone(c.cfg.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	for _, p := range list {
		labels[p.key] = p.value
	}
	c.cfg.Labels = labels
	return nil
}

var portSpec = regexp.MustCompile(`^([0-9]{1,5})(?:-([0-9]{1,5}))?(?:/(tcp|udp|sctp))?$`)

func (c *change) expose() error {
	ports := maps.Clone(c.cfg.ExposedPorts)
	if ports == nil {
		ports = map[string]struct{}{}
	}
	for _, word := range splitWords(c.args) {
		spec, err := c.expand(word)
		if err != nil {
			return err
		}
		m := portSpec.FindStringSubmatch(strings.ToLower(spec))
		if m == nil {
			return c.invalid("%q is not a port, such as 80, 53/udp or 8000-8010", spec)
		}
		first, _ := strconv.Atoi(m[1]) // at most five digits
		last := first
		if m[2] != "" {
			last, _ = strconv.Atoi(m[2])
		}
		if first < 1 || last >= maxPorts || last < first {
			return c.invalid("%q is not a range of ports between 1 and 65535", spec)
		}
		protocol := m[3]
		if protocol == "" {
			protocol = "tcp"
		}
		for port := first; port <= last; port++ {
			ports[strconv.Itoa(port)+"/"+protocol] = struct{}{}
		}
	}
	c.cfg.ExposedPorts = ports
	return nil
}

func (c *change) volume() error {
	list, ok := jsonList(c.args)
	if !ok {
		list = splitWords(c.args)
	}
	volumes := maps.Clone(c.cfg.Volumes)
	if volumes == nil {
		volumes = map[string]struct{}{}
	}
	for _, word := range list {
		v, err := c.expand(word)
		if err != nil {
			return err
		}
		if v = strings.TrimSpace(v); v == "" {
			return c.invalid("a volume's path cannot be empty")
		}
		volumes[v] = struct{}{}
	}
	c.cfg.Volumes = volumes
	return nil
}

func (c *change) single() (string, error) {
	words := splitWords(c.args)
	if len(words) != 1 {
		return "", c.invalid("requires exactly one argument, got %q", c.args)
	}
	return c.expand(words[0])
}

func (c *change) user() (err error) {
	c.cfg.User, err = c.single()
	return err
}

func (c *change) workdir() error {
	dir, err := c.expand(c.args)
	if err != nil {
		return err
	}
	if !path.IsAbs(dir) {
		dir = path.Join("/", c.cfg.WorkingDir, dir)
	}
	c.cfg.WorkingDir = path.Clean(dir)
	return nil
}

func (c *change) stopsignal() error {
	text, err := c.single()
	if err != nil {
		return err
	}
	if !isSignal(text) {
		return c.invalid("unknown signal %q", text)
	}
	c.cfg.StopSignal = text
	return nil
}

func isSignal(text string) bool {
	const last = 64 // _NSIG on Linux
	if n, err := strconv.Atoi(text); err == nil {
		return n >= 1 && n <= last
	}
	name := strings.ToUpper(text)
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	return unix.SignalNum(name) != 0 || strings.HasPrefix(name, "SIGRTMIN") || strings.HasPrefix(name, "SIGRTMAX")
}

func (c *change) onbuild() error {
	name, _, _ := strings.Cut(c.args, " ")
	switch name = strings.ToUpper(name); {
	case name == "ONBUILD":
		return c.invalid("chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
	case name == "FROM" || name == "MAINTAINER":
		return c.invalid("%s isn't allowed as an ONBUILD trigger", name)
	}
	c.cfg.OnBuild = append(slices.Clone(c.cfg.OnBuild), c.args)
	return nil
}

func (c *change) healthcheck() error {
	check := &dockerspec.HealthcheckConfig{}
	rest := c.args
	for strings.HasPrefix(rest, "--") {
		flag, after, _ := strings.Cut(rest, " ")
		rest = strings.TrimSpace(after)
		if err := c.healthFlag(check, flag); err != nil {
			return err
		}
	}
	kind, text, _ := strings.Cut(rest, " ")
	text = strings.TrimSpace(text)
	switch strings.ToUpper(kind) {
	case "NONE":
		if text != "" {
			return c.invalid("NONE takes no arguments")
		}
		check = &dockerspec.HealthcheckConfig{Test: []string{"NONE"}}
	case "CMD":
		if text == "" {
			return c.invalid("missing command after CMD")
		}
		if list, ok := jsonList(text); ok && len(list) > 0 {
			check.Test = append([]string{"CMD"}, list...)
		} else {
			check.Test = []string{"CMD-SHELL", text}
		}
	default:
		return c.invalid("unknown type %q (try CMD or NONE)", kind)
	}
	c.cfg.Healthcheck = check
	return nil
}

func (c *change) healthFlag(check *dockerspec.HealthcheckConfig, flag string) error {
	name, value, _ := strings.Cut(strings.TrimPrefix(flag, "--"), "=")
	if name == "retries" {
		n, err := strconv.Atoi(value)
		if err != nil || n < 0 {
			return c.invalid("--retries must be a number of at least 0, not %q", value)
		}
		check.Retries = n
		return nil
	}
	durations := map[string]*time.Duration{
		"interval":       &check.Interval,
		"timeout":        &check.Timeout,
		"start-period":   &check.StartPeriod,
		"start-interval": &check.StartInterval,
	}
	target := durations[name]
	if target == nil {
		return c.invalid("unknown flag: --%s", name)
	}
	d, err := time.ParseDuration(value)
	if err != nil || d < 0 || d > 0 && d < time.Millisecond {
		return c.invalid("--%s must be a time of at least 1ms, such as 30s, not %q", name, value)
	}
	*target = d
	return nil
}
