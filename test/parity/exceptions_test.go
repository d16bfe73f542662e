package parity

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"
)

// exception is a difference that is right.
type exception struct {
	kind    string // of answer, "" for all
	path    string // keys and places; * ends one that may go on in any way
	allow   func(ours, theirs any) bool
	reason  string
	depends bool // on the machine or the moment: it may excuse nothing
}

// ago is what differs from second to second, and ports drawn at random.
var (
	ago    = regexp.MustCompile(`(Less than a second|About an? \w+|\d+ (seconds?|minutes?))( ago)?`)
	random = regexp.MustCompile(`:(3[2-9]|[45]\d|60)\d\d\d->`)
)

// plain is a line without them.
func plain(line string) string {
	return random.ReplaceAllString(ago.ReplaceAllString(line, "<age>"), ":<port>->")
}

var ids = regexp.MustCompile(`\b(sha256:)?([0-9a-f]{64}|[0-9a-f]{12})\b`)

// withoutIDs is a text without ids.
func withoutIDs(text string) string { return ids.ReplaceAllString(text, "<id>") }

var (
	id64    = form(`^[0-9a-f]{64}$`)
	id12    = form(`^[0-9a-f]{12}$`)
	image   = form(`^sha256:[0-9a-f]{64}$`)
	anyID   = form(`^(sha256:)?[0-9a-f]{64}$`)
	path    = form(`^(/.+)?$`)
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

// values allows exactly this pair, in which "*" is any value.
func values(ours, theirs any) func(any, any) bool {
	is := func(v, want any) bool { return want == "*" || fmt.Sprint(v) == fmt.Sprint(want) }
	return func(a, b any) bool { return is(a, ours) && is(b, theirs) }
}

func missingOurs(ours, theirs any) bool { return ours == missing{} }

// coreOf allows texts of a failed start with the same of the words that the
// client makes exit codes 126 and 127 of.
func coreOf(ours, theirs any) bool {
	a, _ := ours.(string)
	b, _ := theirs.(string)
	for _, core := range []string{"executable file not found in $PATH", "no such file or directory", "permission denied", "exec format error"} {
		if strings.Contains(a, core) && strings.Contains(b, core) {
			return true
		}
	}
	return false
}

// within allows numbers that differ by a thousandth.
func within(ours, theirs any) bool {
	a, ok := ours.(float64)
	b, ok2 := theirs.(float64)
	return ok && ok2 && math.Abs(a-b) <= b/1000
}

// sameSet allows the same words, separated by commas, in any order; ids of
// volumes are one word.
func sameSet(ours, theirs any) bool {
	set := func(v any) []string {
		s, _ := v.(string)
		words := strings.Split(s, ",")
		for i, w := range words {
			if len(w) == 64 {
				words[i] = "<id>"
			}
		}
		slices.Sort(words)
		return words
	}
	return slices.Equal(set(ours), set(theirs))
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
	ownPath    = "a path below the engine's own roots"
	ownName    = "the engine's own name"
	drawn      = "drawn at random by each engine"
	inOrder    = "each engine gives its addresses in its own order"
	clock      = "a moment"
	newest     = "the newest version of the API that each speaks"
	ownVersion = "of the engine's own build"
	bare       = "20.10 leaves these defaults out of a request that does not name them; docker always does"
	linkText   = "ours is the size of the files, theirs has the text of symbolic links too"
	stale      = "dockerd's list keeps the addresses of a start that failed"
	notBefore  = "the id of an image holds its time of creation"
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
	{kind: "container", path: "GraphDriver.Data.MergedDir", allow: form(`^(/.+)?$`), reason: "a root of ours is never mounted on the host: it is reached through the process, while there is one"},
	{kind: "container", path: "Config.Hostname", allow: id12, reason: "defaults to the short id"},
	{kind: "container", path: "HostConfig.Runtime", allow: values("sampan", "runc"), reason: ownName},
	{kind: "bare container", path: "HostConfig.IpcMode", allow: values("shareable", "private"), reason: bare},
	{kind: "bare container", path: "HostConfig.PortBindings", allow: values("map[]", nil), reason: bare},
	{kind: "bare container", path: "HostConfig.RestartPolicy.Name", allow: values("no", ""), reason: bare},
	{kind: "bare container", path: "HostConfig.Runtime", allow: values("sampan", missing{}), reason: bare},
	{kind: "container", path: "HostConfig.NetworkMode", allow: form(`^container:[0-9a-f]{64}$`), reason: drawn},
	{kind: "container", path: "HostConfig.IpcMode", allow: form(`^container:[0-9a-f]{64}$`), reason: drawn},
	{kind: "container", path: "HostConfig.PidMode", allow: form(`^container:[0-9a-f]{64}$`), reason: drawn},
	{kind: "container", path: "HostConfig.MaskedPaths", allow: superset, reason: "ours hides more: what later Docker versions hide, each after a CVE, and sorted"},
	{kind: "container", path: "AppArmorProfile", allow: values("", "docker-default"), reason: "each loads its own profile", depends: true},
	{kind: "container", path: "NetworkSettings.SandboxID", allow: id64, reason: drawn},
	{kind: "container", path: "NetworkSettings.SandboxKey", allow: form(`^(/.+)?$`), reason: "of an ended container dockerd names a file that is gone, we name none"},
	{kind: "container", path: "State.Error", allow: coreOf, reason: "ours is one sentence, theirs names containerd and runc"},
	{kind: "container", path: "SizeRootFs", allow: within, reason: linkText},
	{kind: "container", path: "NetworkSettings.EndpointID", allow: id64, reason: drawn},
	{kind: "container", path: "NetworkSettings.IPAddress", allow: address, reason: inOrder, depends: true},
	{kind: "container", path: "NetworkSettings.MacAddress", allow: mac, reason: "made of the address", depends: true},
	{kind: "container", path: "NetworkSettings.Networks.*.EndpointID", allow: id64, reason: drawn},
	{kind: "container", path: "NetworkSettings.Networks.*.NetworkID", allow: id64, reason: drawn},
	{kind: "container", path: "NetworkSettings.Networks.*.IPAddress", allow: address, reason: inOrder, depends: true},
	{kind: "container", path: "NetworkSettings.Networks.*.MacAddress", allow: mac, reason: "made of the address", depends: true},
	{kind: "container", path: "NetworkSettings.Ports.84/tcp.*.HostPort", allow: port, reason: drawn},
	{kind: "container", path: "NetworkSettings.Ports.93/tcp.*.HostPort", allow: port, reason: drawn},

	{kind: "list", path: "*.HostConfig.NetworkMode", allow: form(`^container:[0-9a-f]{64}$`), reason: drawn},
	{kind: "list", path: "*.Id", allow: id64, reason: drawn},
	{kind: "list", path: "*.Created", allow: positive, reason: clock, depends: true},
	{kind: "list", path: "*.ImageID", allow: image, reason: notBefore},
	{kind: "list", path: "*.SizeRootFs", allow: within, reason: linkText},
	{kind: "image", path: "Size", allow: within, reason: linkText},
	{kind: "image", path: "VirtualSize", allow: within, reason: linkText},
	{kind: "images", path: "*.Size", allow: within, reason: linkText},
	{kind: "images", path: "*.VirtualSize", allow: within, reason: linkText},
	{kind: "history", path: "*.Size", allow: within, reason: linkText},
	{kind: "list", path: "[/failed-*.NetworkSettings.Networks.*.EndpointID", allow: values("", "*"), reason: stale},
	{kind: "list", path: "[/failed-*.NetworkSettings.Networks.*.Gateway", allow: values("", "*"), reason: stale},
	{kind: "list", path: "[/failed-*.NetworkSettings.Networks.*.IPAddress", allow: values("", "*"), reason: stale},
	{kind: "list", path: "[/failed-*.NetworkSettings.Networks.*.IPPrefixLen", allow: values(0, "*"), reason: stale},
	{kind: "list", path: "[/failed-*.NetworkSettings.Networks.*.MacAddress", allow: values("", "*"), reason: stale},
	{kind: "ps", path: "*.Labels", allow: sameSet, reason: "the client's order is that of a Go map", depends: true},
	{kind: "ps", path: "*.Mounts", allow: sameSet, reason: "dockerd's order is that of a Go map", depends: true},
	{kind: "list", path: "*.Status", allow: sameStatus, reason: clock, depends: true},
	{kind: "list", path: "*.Mounts.*.Source", allow: path, reason: ownPath},
	{kind: "list", path: "*.Mounts.*.Name", allow: id64, reason: drawn},
	{kind: "list", path: "*.Ports.*.PublicPort", allow: positive, reason: drawn},
	{kind: "list", path: "*.NetworkSettings.Networks.*.EndpointID", allow: id64, reason: drawn},
	{kind: "list", path: "*.NetworkSettings.Networks.*.NetworkID", allow: id64, reason: drawn},
	{kind: "list", path: "*.NetworkSettings.Networks.*.IPAddress", allow: address, reason: inOrder, depends: true},
	{kind: "list", path: "*.NetworkSettings.Networks.*.MacAddress", allow: mac, reason: "made of the address", depends: true},

	{kind: "ps", path: "*.ID", allow: id64, reason: drawn},
	{kind: "ps", path: "*.CreatedAt", allow: sameType, reason: clock, depends: true},
	{kind: "ps", path: "*.RunningFor", allow: sameStatus, reason: clock, depends: true},
	{kind: "ps", path: "*.Status", allow: sameStatus, reason: clock, depends: true},
	{kind: "ps", path: "*.Ports", allow: sameStatus, reason: drawn},

	{kind: "image", path: "Id", allow: image, reason: notBefore},
	{kind: "image", path: "Created", allow: moments, reason: clock},
	{kind: "image", path: "Metadata.LastTagTime", allow: moments, reason: clock},
	{kind: "image", path: "DockerVersion", allow: values("", "20.10.24+dfsg1"), reason: "newer APIs dropped it; it is not recorded"},
	{kind: "image", path: "GraphDriver.Data.*", allow: path, reason: ownPath},
	{kind: "history", path: "*.Id", allow: image, reason: notBefore},
	{kind: "history", path: "*.Created", allow: positive, reason: clock, depends: true},
	{kind: "images", path: "*.Id", allow: image, reason: notBefore},
	{kind: "images", path: "*.Created", allow: positive, reason: clock, depends: true},

	{kind: "exec", path: "ID", allow: id64, reason: drawn},
	{kind: "exec", path: "ContainerID", allow: id64, reason: drawn},
	{kind: "exec", path: "Pid", allow: positive, reason: "process id"},
	{kind: "container", path: "ExecIDs.*", allow: id64, reason: drawn},
	{kind: "event", path: "id", allow: anyID, reason: drawn},
	{kind: "event", path: "time", allow: positive, reason: clock, depends: true},
	{kind: "event", path: "timeNano", allow: positive, reason: clock},
	{kind: "event", path: "Actor.ID", allow: anyID, reason: drawn},
	{kind: "event", path: "Actor.Attributes.execID", allow: id64, reason: drawn},
	{kind: "event", path: "Actor.Attributes.container", allow: id64, reason: drawn},
	{kind: "event", path: "Actor.Attributes.name", allow: image, reason: notBefore},

	{kind: "version", path: "ApiVersion", allow: form(`^1\.\d+$`), reason: newest},
	{kind: "version", path: "MinAPIVersion", allow: values("1.24", "1.12"), reason: "Docker's clients since 2016 speak 1.24"},
	{kind: "version", path: "Version", allow: sameType, reason: ownVersion},
	{kind: "version", path: "GitCommit", allow: sameType, reason: ownVersion},
	{kind: "version", path: "GoVersion", allow: form(`^go1\.`), reason: ownVersion},
	{kind: "version", path: "Platform.Name", allow: sameType, reason: ownName},
	{kind: "version", path: "BuildTime", allow: values(missing{}, "*"), reason: "our builds are reproducible: they hold no time"},
	{kind: "version", path: "Components.0.Version", allow: sameType, reason: ownVersion},
	{kind: "version", path: "Components.0.Details.*", allow: sameType, reason: ownVersion},
	{kind: "version", path: "Components.*", allow: missingOurs, reason: "containerd, runc and docker-init are programs of their own; Sampan has none of them"},

	{kind: "info", path: "ID", allow: sameType, reason: drawn},
	{kind: "info", path: "SystemTime", allow: moments, reason: clock},
	{kind: "info", path: "NFd", allow: positive, reason: "open files of the daemon", depends: true},
	{kind: "info", path: "NGoroutines", allow: positive, reason: "of the daemon", depends: true},
	{kind: "info", path: "ServerVersion", allow: sameType, reason: ownVersion},
	{kind: "info", path: "DockerRootDir", allow: path, reason: ownPath},
	{kind: "info", path: "DefaultRuntime", allow: values("sampan", "runc"), reason: ownName},
	{kind: "info", path: "Runtimes", allow: sameType, reason: ownName},
	{kind: "info", path: "InitBinary", allow: values("", "docker-init"), reason: "ours is named when --init-path says it, and looked for at the start otherwise"},
	{kind: "info", path: "ContainerdCommit.*", allow: values("", "*"), reason: "there is no containerd"},
	{kind: "info", path: "RuncCommit.*", allow: values("", "*"), reason: "there is no runc"},
	{kind: "info", path: "DriverStatus", allow: sameType, reason: "another file system below, the lab's tmpfs"},
	{kind: "info", path: "OperatingSystem", allow: sameType, reason: "dockerd takes a pid namespace of the lab for a container"},
	{kind: "info", path: "LiveRestoreEnabled", allow: values(true, false), reason: "containers outlive our daemon by default"},
	{kind: "info", path: "Plugins.Log", allow: sameType, reason: "drivers of logs come one by one; others are refused by name"},
	{kind: "info", path: "Plugins.Network", allow: sameType, reason: "drivers of networks come one by one; others are refused by name"},
	{kind: "info", path: "RegistryConfig.InsecureRegistryCIDRs", allow: superset, reason: "newer Docker versions list ::1 too"},
	{kind: "info", path: "Warnings", allow: sameType, reason: "each names what its own firewall needs", depends: true},

	{kind: "network", path: "Containers.*.EndpointID", allow: id64, reason: drawn},
	{kind: "network", path: "Containers.*.IPv4Address", allow: form(`^172\.17\.\d+\.\d+/16$`), reason: inOrder, depends: true},
	{kind: "network", path: "Containers.*.MacAddress", allow: mac, reason: "made of the address", depends: true},
	{kind: "user network", path: "Containers.*.EndpointID", allow: id64, reason: drawn},
	{kind: "user network", path: "IPAM.Config.0.Gateway", allow: values("*", missing{}), reason: "dockerd knows it from its second start on"},
	{kind: "container", path: "NetworkSettings.Networks.*.Aliases.*", allow: id12, reason: "the short id"},
	{kind: "container", path: "NetworkSettings.Networks.range-net.Aliases", allow: values("*", nil), reason: "before the first start dockerd's client is not told the short id"},
	{kind: "user network", path: "Id", allow: id64, reason: drawn},
	{kind: "user network", path: "Created", allow: moments, reason: clock},
	{kind: "network", path: "Id", allow: id64, reason: drawn},
	{kind: "network", path: "Created", allow: moments, reason: clock},
	{kind: "network", path: "Options.*", allow: values("sampan0", "docker0"), reason: ownName},
	{kind: "network", path: "IPAM.Config.0.Gateway", allow: values("172.17.0.1", missing{}), reason: "dockerd knows it from its second start on"},
}
