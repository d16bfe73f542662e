package parity

import (
	"fmt"
	"regexp"
	"slices"
	"time"
)

// exception is a difference that is right.
type exception struct {
	kind    string // of answer, "" for all
	path    string // keys and places, * for any one
	allow   func(ours, theirs any) bool
	reason  string
	depends bool // on the machine: it may excuse nothing
}

// ago is what differs from second to second, and ports drawn at random.
var (
	ago    = regexp.MustCompile(`(Less than a second|About an? \w+|\d+ (seconds?|minutes?))( ago)?`)
	random = regexp.MustCompile(`:(3[2-9]|[45]\d|60)\d\d\d->`)
)

func plain(line string) string {
	return random.ReplaceAllString(ago.ReplaceAllString(line, "<age>"), ":<port>->")
}

var (
	id64    = form(`^[0-9a-f]{64}$`)
	id12    = form(`^[0-9a-f]{12}$`)
	image   = form(`^sha256:[0-9a-f]{64}$`)
	path    = form(`^/.+`)
	mac     = form(`^02:42:([0-9a-f]{2}:){3}[0-9a-f]{2}$`)
	address = form(`^172\.17\.\d+\.\d+$`)
	port    = form(`^[1-9]\d{3,4}$`)
)

// form allows two strings of the same form.
func form(pattern string) func(ours, theirs any) bool {
	re := regexp.MustCompile(pattern)
	return func(ours, theirs any) bool {
		a, ok := ours.(string)
		b, ok2 := theirs.(string)
		return ok && ok2 && re.MatchString(a) && re.MatchString(b)
	}
}

// sameStatus allows texts that differ in an age or a port drawn at random.
func sameStatus(ours, theirs any) bool {
	a, ok := ours.(string)
	b, ok2 := theirs.(string)
	return ok && ok2 && plain(a) == plain(b)
}

// moments allows two times, neither of them the zero time.
func moments(ours, theirs any) bool {
	for _, v := range []any{ours, theirs} {
		s, ok := v.(string)
		at, err := time.Parse(time.RFC3339Nano, s)
		if !ok || err != nil || at.Year() < 2000 {
			return false
		}
	}
	return true
}

// positive allows two numbers above zero.
func positive(ours, theirs any) bool {
	a, ok := ours.(float64)
	b, ok2 := theirs.(float64)
	return ok && ok2 && a > 0 && b > 0
}

// sameType allows any two values of one JSON type.
func sameType(ours, theirs any) bool { return fmt.Sprintf("%T", ours) == fmt.Sprintf("%T", theirs) }

// values allows exactly this pair.
func values(ours, theirs any) func(any, any) bool {
	return func(a, b any) bool { return fmt.Sprint(a) == fmt.Sprint(ours) && fmt.Sprint(b) == fmt.Sprint(theirs) }
}

// superset allows our list to hold more than theirs, in any order.
func superset(ours, theirs any) bool {
	a, ok := ours.([]any)
	b, ok2 := theirs.([]any)
	for _, v := range b {
		ok = ok && slices.Contains(a, v)
	}
	return ok && ok2
}

const (
	ownPath   = "a path below the engine's own roots"
	ownName   = "the engine's own name"
	drawn     = "drawn at random by each engine"
	inOrder   = "each engine gives its addresses in its own order"
	clock     = "a moment"
	notBefore = "the id of an image holds its time of creation"
)

var exceptions = []exception{
	{kind: "container", path: "Id", allow: id64, reason: drawn},
	{kind: "container", path: "Created", allow: moments, reason: clock},
	{kind: "container", path: "Image", allow: image, reason: notBefore},
	{kind: "container", path: "State.Pid", allow: positive, reason: "process id"},
	{kind: "container", path: "State.StartedAt", allow: moments, reason: clock},
	{kind: "container", path: "State.FinishedAt", allow: moments, reason: clock},
	{kind: "container", path: "ResolvConfPath", allow: path, reason: ownPath},
	{kind: "container", path: "HostnamePath", allow: path, reason: ownPath},
	{kind: "container", path: "HostsPath", allow: path, reason: ownPath},
	{kind: "container", path: "LogPath", allow: path, reason: ownPath},
	{kind: "container", path: "Mounts.*.Source", allow: path, reason: ownPath},
	{kind: "container", path: "Mounts.*.Name", allow: id64, reason: drawn},
	{kind: "container", path: "GraphDriver.Data.LowerDir", allow: path, reason: ownPath},
	{kind: "container", path: "GraphDriver.Data.UpperDir", allow: path, reason: ownPath},
	{kind: "container", path: "GraphDriver.Data.WorkDir", allow: path, reason: ownPath},
	{kind: "container", path: "GraphDriver.Data.MergedDir", allow: path, reason: ownPath},
	{kind: "container", path: "Config.Hostname", allow: id12, reason: "defaults to the short id"},
	{kind: "container", path: "HostConfig.Runtime", allow: values("sampan", "runc"), reason: ownName},
	{kind: "container", path: "HostConfig.MaskedPaths", allow: superset, reason: "ours hides more: what later Docker versions hide, each after a CVE, and sorted"},
	{kind: "container", path: "AppArmorProfile", allow: values("", "docker-default"), reason: "each loads its own profile", depends: true},
	{kind: "container", path: "NetworkSettings.SandboxID", allow: id64, reason: drawn},
	{kind: "container", path: "NetworkSettings.SandboxKey", allow: path, reason: ownPath},
	{kind: "container", path: "NetworkSettings.EndpointID", allow: id64, reason: drawn},
	{kind: "container", path: "NetworkSettings.IPAddress", allow: address, reason: inOrder},
	{kind: "container", path: "NetworkSettings.MacAddress", allow: mac, reason: "made of the address"},
	{kind: "container", path: "NetworkSettings.Networks.*.EndpointID", allow: id64, reason: drawn},
	{kind: "container", path: "NetworkSettings.Networks.*.NetworkID", allow: id64, reason: drawn},
	{kind: "container", path: "NetworkSettings.Networks.*.IPAddress", allow: address, reason: inOrder},
	{kind: "container", path: "NetworkSettings.Networks.*.MacAddress", allow: mac, reason: "made of the address"},
	{kind: "container", path: "NetworkSettings.Ports.84/tcp.*.HostPort", allow: port, reason: drawn},
	{kind: "container", path: "NetworkSettings.Ports.93/tcp.*.HostPort", allow: port, reason: drawn},

	{kind: "list", path: "*.Id", allow: id64, reason: drawn},
	{kind: "list", path: "*.Created", allow: positive, reason: clock},
	{kind: "list", path: "*.ImageID", allow: image, reason: notBefore},
	{kind: "list", path: "*.Status", allow: sameStatus, reason: clock},
	{kind: "list", path: "*.Mounts.*.Source", allow: path, reason: ownPath},
	{kind: "list", path: "*.Mounts.*.Name", allow: id64, reason: drawn},
	{kind: "list", path: "*.Ports.*.PublicPort", allow: positive, reason: drawn},
	{kind: "list", path: "*.NetworkSettings.Networks.*.EndpointID", allow: id64, reason: drawn},
	{kind: "list", path: "*.NetworkSettings.Networks.*.NetworkID", allow: id64, reason: drawn},
	{kind: "list", path: "*.NetworkSettings.Networks.*.IPAddress", allow: address, reason: inOrder},
	{kind: "list", path: "*.NetworkSettings.Networks.*.MacAddress", allow: mac, reason: "made of the address"},

	{kind: "ps", path: "*.ID", allow: id64, reason: drawn},
	{kind: "ps", path: "*.CreatedAt", allow: sameType, reason: clock},
	{kind: "ps", path: "*.RunningFor", allow: sameStatus, reason: clock},
	{kind: "ps", path: "*.Status", allow: sameStatus, reason: clock},
	{kind: "ps", path: "*.Ports", allow: sameStatus, reason: drawn},

	{kind: "network", path: "Id", allow: id64, reason: drawn},
	{kind: "network", path: "Created", allow: moments, reason: clock},
	{kind: "network", path: "Options.*", allow: values("sampan0", "docker0"), reason: ownName},
	{kind: "network", path: "IPAM.Config.0.Gateway", allow: values("172.17.0.1", missing{}), reason: "dockerd knows it from its second start on"},
}
