package health

import (
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/container"

	"github.com/sampan-containers/sampan/fault"
)

// Direct is a check that needs no command in the container: a TCP connection to
// one of its ports, or a GET request over one.
type Direct struct {
	HTTP bool
	Port uint16
	Path string // of HTTP, begins with a slash
}

// maxDirectPath bounds the path of a GET request.
const maxDirectPath = 2048

// DirectOf reads a check that is written as the command "http:PORT/PATH" or
// "tcp:PORT", so that every client and HEALTHCHECK CMD of a Dockerfile can name it.
// No shell takes either for a command that exists.
func DirectOf(c *container.Config) (d Direct, ok bool) {
	if c.Healthcheck == nil || len(c.Healthcheck.Test) != 2 {
		return d, false
	}
	if t := c.Healthcheck.Test[0]; t != "CMD" && t != "CMD-SHELL" {
		return d, false
	}
	return parseDirect(c.Healthcheck.Test[1])
}

// checkDirect refuses what was meant as such a check and is none: as a command it would
// be looked for in vain, and the container called unhealthy.
func checkDirect(test []string) error {
	if len(test) != 2 || test[0] != "CMD" && test[0] != "CMD-SHELL" {
		return nil
	}
	text := test[1]
	if !strings.HasPrefix(text, "tcp:") && !strings.HasPrefix(text, "http:") || strings.ContainsAny(text, " \t\n") {
		return nil
	}
	if _, ok := parseDirect(text); !ok {
		return fault.New(fault.Invalid, "invalid health check %q: want tcp:PORT or http:PORT/PATH with a port of the container, 1 to 65535", text)
	}
	return nil
}

func parseDirect(text string) (d Direct, ok bool) {
	scheme, rest, found := strings.Cut(text, ":")
	if !found || scheme != "http" && scheme != "tcp" {
		return d, false
	}
	port, path := rest, ""
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		port, path = rest[:i], rest[i:]
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 || len(path) > maxDirectPath {
		return d, false
	}
	// What is sent is one line: no blank and no control character.
	if strings.ContainsFunc(path, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return d, false
	}
	d = Direct{HTTP: scheme == "http", Port: uint16(n), Path: path}
	if !d.HTTP {
		return d, path == ""
	}
	if d.Path == "" {
		d.Path = "/"
	}
	return d, true
}

// ActionLabel is the label of a create request that says what follows when the
// container becomes unhealthy. An image's label of this name means nothing.
const ActionLabel = "sampan.health-action"

// The actions.
const (
	ActionNone    = "none"
	ActionRestart = "restart"
	ActionStop    = "stop"
)

// ParseAction reads the label; no label is no action.
func ParseAction(labels map[string]string) (string, error) {
	switch a := labels[ActionLabel]; a {
	case "", ActionNone:
		return "", nil
	case ActionRestart, ActionStop:
		return a, nil
	default:
		return "", fault.New(fault.Invalid, "invalid health action %q (want %s, %s or %s)", a, ActionRestart, ActionStop, ActionNone)
	}
}
