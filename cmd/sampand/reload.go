package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/events"

	"github.com/sampan-containers/sampan/runtime/cgroup"
)

// reloadable are the options that SIGHUP changes in a running daemon, dockerd's and the
// log level and our table of registries. All others need a restart, which containers
// do not notice.
func reloadable() []string {
	return []string{
		"debug", "log-level", "label", "live-restore", "shutdown-timeout",
		"default-runtime", "add-runtime", "default-shm-size", "default-ipc-mode", "default-cgroupns-mode",
		"registry-mirror", "insecure-registry", "registries", "max-concurrent-downloads", "max-concurrent-uploads", "max-download-attempts",
	}
}

// reload reads the configuration again, as a start of the daemon would, and takes up
// what can be changed: all of it, or with an error nothing.
func (d *daemon) reload() {
	next, err := configure(d.args)
	if err != nil {
		d.log.Error("SIGHUP: the configuration is not reloaded, the one before stays in force", "error", err)
		return
	}
	if err := d.take(next); err != nil {
		d.log.Error("SIGHUP: the configuration is not reloaded, the one before stays in force", "error", err)
		return
	}
	var later []string
	can := reloadable()
	for _, name := range slices.Sorted(maps.Keys(next.values)) {
		if next.values[name] != d.cfg.values[name] && !slices.Contains(can, name) {
			later = append(later, name)
		}
	}
	if len(later) > 0 {
		d.log.Warn("SIGHUP: some options change with a restart of the daemon only; containers keep running meanwhile", "options", strings.Join(later, " "))
	}
	d.events.Emit(events.DaemonEventType, events.ActionReload, d.id, d.cfg.reloaded())
	d.log.Info("SIGHUP: the configuration is reloaded", "file", next.configFile)
}

// take makes the reloadable options of next those of the daemon.
func (d *daemon) take(next *config) error {
	level, err := next.level()
	if err != nil {
		return err
	}
	layout, err := cgroup.Mode()
	if err != nil {
		return err
	}
	c := *d.cfg
	c.debug, c.logLevel, c.labels = next.debug, next.logLevel, next.labels
	c.liveRestore, c.shutdownTimeout = next.liveRestore, next.shutdownTimeout
	c.defaultRuntime, c.runtimes = next.defaultRuntime, next.runtimes
	c.shmSize, c.ipcMode, c.cgroupns = next.shmSize, next.ipcMode, next.cgroupns
	c.registry.take(&next.registry)
	d.cfg = &c
	d.level.Set(level)
	d.transfers.Change(c.registry.downloads, c.registry.uploads, c.registry.client())
	d.containers.SetDefaults(c.containers(layout))
	d.tell(d.system(d.id))
	return nil
}

// take makes the reloadable options of next those of o.
func (o *registryOptions) take(next *registryOptions) {
	o.mirrors, o.insecure, o.table = next.mirrors, next.insecure, next.table
	o.downloads, o.uploads, o.attempts = next.downloads, next.uploads, next.attempts
}

// reloaded are the attributes of the event: what is in force now, in dockerd's terms.
func (c *config) reloaded() map[string]string {
	host, _ := os.Hostname()
	var programs []string
	listed := c.runtimes.listed()
	for _, name := range slices.Sorted(maps.Keys(listed)) {
		programs = append(programs, name+":"+listed[name].Path)
	}
	return map[string]string{
		"name": host, "debug": strconv.FormatBool(c.debug), "labels": list(c.labels),
		"live-restore": strconv.FormatBool(c.liveRestore), "shutdown-timeout": strconv.Itoa(c.shutdownTimeout),
		"default-runtime": c.defaultRuntime, "runtimes": strings.Join(programs, " "),
		"default-shm-size": fmt.Sprint(int64(c.shmSize)), "default-ipc-mode": c.ipcMode, "default-cgroupns-mode": c.cgroupns,
		"registry-mirrors": list(c.registry.mirrors), "insecure-registries": list(c.registry.insecure),
		"max-concurrent-downloads": strconv.Itoa(c.registry.downloads), "max-concurrent-uploads": strconv.Itoa(c.registry.uploads),
		"max-download-attempts": strconv.Itoa(c.registry.attempts), "features": c.features.String(),
	}
}

func list(values []string) string {
	if values == nil {
		values = []string{}
	}
	raw, _ := json.Marshal(values) // strings always can be
	return string(raw)
}
