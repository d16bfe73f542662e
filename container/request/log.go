package request

import (
	"bytes"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/container"

	"github.com/sampan-containers/sampan/container/record"
	"github.com/sampan-containers/sampan/shim/wire"
)

// The log drivers there are.
const (
	LogJSON  = "json-file"
	LogLocal = "local"
	LogNone  = "none"
)

// LogDrivers lists them, for a daemon to tell.
func LogDrivers() []string { return []string{LogJSON, LogLocal, LogNone} }

// remoteDrivers are Docker's that send the log to somebody else.
var remoteDrivers = []string{"syslog", "journald", "gelf", "fluentd", "awslogs", "splunk", "etwlogs", "gcplogs", "logentries"}

// maxLogAttrs bounds the labels, variables and tag that go into each entry.
const maxLogAttrs = 64 << 10

func (d *Defaults) checkLog(_ *container.Config, hc *container.HostConfig) error {
	driver := hc.LogConfig.Type
	if driver == "" {
		driver = d.LogDriver
	}
	return CheckLogOptions(driver, hc.LogConfig.Config)
}

// CheckLogOptions refuses log drivers and options that are unknown, and by name
// those that are not available yet.
func CheckLogOptions(driver string, options map[string]string) error {
	switch {
	case driver == LogNone:
		if len(options) > 0 {
			return invalid("unknown log opt '%s' for none log driver", slices.Sorted(maps.Keys(options))[0])
		}
		return nil
	case driver == LogJSON || driver == LogLocal:
	case slices.Contains(remoteDrivers, driver):
		return notYet("log driver %s is not available yet: Sampan does not send logs to other services (use %s, and have the service read the files)", driver, strings.Join(LogDrivers(), ", "))
	default:
		return invalid("logger: no log driver named '%s' is registered (there are %s)", driver, strings.Join(LogDrivers(), ", "))
	}
	for _, k := range slices.Sorted(maps.Keys(options)) {
		if err := checkLogOption(driver, k, options[k]); err != nil {
			return err
		}
	}
	if on, err := strconv.ParseBool(options["compress"]); err == nil && on && (options["max-file"] == "1" || options["max-size"] == "-1") {
		return invalid("compress cannot be true when max-file is less than 2 or max-size is not set")
	}
	if options["max-buffer-size"] != "" && options["mode"] != "non-blocking" {
		return invalid("logger: max-buffer-size option is only supported with 'mode=non-blocking'")
	}
	return nil
}

func checkLogOption(driver, key, value string) error {
	switch key {
	case "max-size":
		if n, err := units.FromHumanSize(value); err != nil || n <= 0 && value != "-1" {
			return invalid("invalid value for max-size: %q (use a size such as 20m)", value)
		}
	case "max-file":
		if n, err := strconv.Atoi(value); err != nil || n < 1 {
			return invalid("invalid value for max-file: %q (use a number of at least 1)", value)
		}
	case "compress":
		if _, err := strconv.ParseBool(value); err != nil {
			return invalid("invalid value for compress: %q (use true or false)", value)
		}
	case "mode":
		// A shim never waits for anybody with a log, so that both come to the same.
		if value != "blocking" && value != "non-blocking" {
			return invalid("logger: logging mode not supported: %s", value)
		}
	case "max-buffer-size":
		if _, err := units.RAMInBytes(value); err != nil {
			return invalid("logger: error parsing option max-buffer-size: %q (use a size such as 4m)", value)
		}
	case "labels", "env":
	case "labels-regex", "env-regex":
		if _, err := regexp.Compile(value); err != nil {
			return invalid("invalid value for %s: %v", key, err)
		}
	case "tag":
		if _, err := parseTag(value); err != nil {
			return err
		}
	default:
		return invalid("unknown log opt '%s' for %s log driver", key, driver)
	}
	return nil
}

// LogConfig turns a container's checked log options into the shim's.
func LogConfig(r *record.Record, path string) (wire.LogConfig, error) {
	c := r.HostConfig.LogConfig
	out := wire.LogConfig{Driver: c.Type, Path: path, Compress: Compresses(c)}
	if size := c.Config["max-size"]; size == "-1" {
		out.MaxSize = -1
	} else if size != "" {
		out.MaxSize, _ = units.FromHumanSize(size)
	}
	out.MaxFiles, _ = strconv.Atoi(c.Config["max-file"])
	var err error
	out.Attrs, err = logAttrs(r, c.Config)
	return out, err
}

// Compresses tells whether old files of a log are compressed: with local unless it
// is switched off, with json-file if it is asked for.
func Compresses(c container.LogConfig) bool {
	on, err := strconv.ParseBool(c.Config["compress"])
	switch c.Type {
	case LogLocal:
		return (err != nil || on) && c.Config["max-file"] != "1" && c.Config["max-size"] != "-1"
	case LogJSON:
		return err == nil && on
	}
	return false
}

// logAttrs are what the options labels, env and tag choose for each entry.
func logAttrs(r *record.Record, o map[string]string) (map[string]string, error) {
	if o["labels"]+o["labels-regex"]+o["env"]+o["env-regex"]+o["tag"] == "" {
		return nil, nil
	}
	env := map[string]string{}
	for _, e := range r.Config.Env {
		if k, v, ok := strings.Cut(e, "="); ok {
			env[k] = v
		}
	}
	attrs := map[string]string{}
	if err := choose(attrs, r.Config.Labels, o["labels"], o["labels-regex"]); err != nil {
		return nil, err
	}
	if err := choose(attrs, env, o["env"], o["env-regex"]); err != nil {
		return nil, err
	}
	if o["tag"] != "" {
		t, err := parseTag(o["tag"])
		if err != nil {
			return nil, err
		}
		var text bytes.Buffer
		if err := t.Execute(&text, tagData(r)); err != nil {
			return nil, invalid("log option tag: %v", err)
		}
		attrs["tag"] = text.String()
	}
	size := 0
	for k, v := range attrs {
		size += len(k) + len(v)
	}
	if size > maxLogAttrs {
		return nil, invalid("the labels, variables and tag of each log entry have %d bytes, more than the limit of %d: choose fewer with --log-opt", size, maxLogAttrs)
	}
	return attrs, nil
}

// choose takes over what a list of names or a pattern selects.
func choose(to, from map[string]string, names, pattern string) error {
	for name := range strings.SplitSeq(names, ",") {
		if v, ok := from[name]; ok {
			to[name] = v
		}
	}
	if pattern == "" {
		return nil
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return invalid("log option: %v", err)
	}
	for k, v := range from {
		if re.MatchString(k) {
			to[k] = v
		}
	}
	return nil
}

// tag is what the template of a log tag may name, as in Docker.
type tag struct {
	ID, FullID, Name, ImageID, ImageFullID, ImageName, DaemonName string
}

func tagData(r *record.Record) tag {
	return tag{
		ID: r.ID[:ShortID], FullID: r.ID, Name: r.Name, DaemonName: "sampan",
		ImageID: strings.TrimPrefix(r.ImageID, "sha256:")[:ShortID], ImageFullID: r.ImageID, ImageName: r.Config.Image,
	}
}

// parseTag checks a template by using it.
func parseTag(text string) (*template.Template, error) {
	t, err := template.New("tag").Parse(text)
	if err == nil {
		err = t.Execute(&bytes.Buffer{}, tag{})
	}
	if err != nil {
		return nil, invalid("invalid log option tag %q: %v", text, err)
	}
	return t, nil
}
