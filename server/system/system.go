// Package system serves the Engine API's routes about the engine itself: _ping,
// version, info and events.
package system

import (
	"sync/atomic"
	"time"

	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/registry"
	"github.com/moby/moby/api/types/system"
	"github.com/sampan-containers/sampan/event"
	"github.com/sampan-containers/sampan/event/filter"
	"github.com/sampan-containers/sampan/registry/hosts"
	"github.com/sampan-containers/sampan/server"
)

// Containers counts the containers for info.
type Containers interface {
	Counts() (total, running, paused, stopped int)
}

// Images counts the images for info.
type Images interface{ Count() int }

// Events is the event bus.
type Events interface {
	Past(since, until time.Time, f filter.Args) []events.Message
	Subscribe(since, until time.Time, f filter.Args) *event.Subscription
	Subscribers() int
}

// Config is what the engine tells about itself. What the machine tells is read
// from the kernel.
type Config struct {
	ID        string // of this engine, kept with its state
	Root      string // the data root
	Version   string
	Commit    string
	BuildTime string // RFC 3339, or empty
	Labels    []string
	CDIDirs   []string // where specifications of devices lie

	Debug, Experimental, LiveRestore bool

	StorageDriver   string
	LoggingDriver   string
	LoggingDrivers  []string
	NetworkDrivers  []string
	CgroupDriver    string
	Firewall        string // e.g. "nftables"
	Runtimes        map[string]system.Runtime
	DefaultRuntime  string
	AddressPools    []system.NetworkAddressPool
	Registry        *registry.ServiceConfig
	Proxy           hosts.Proxy // in effect for the daemon
	SecurityOptions []string    // e.g. "name=seccomp,profile=builtin"
	BuilderVersion  string      // "1" the classic builder, "2" BuildKit
	InitBinary      string      // what --init puts into containers
	Warnings        []string
}

type routes struct {
	config     atomic.Pointer[Config]
	containers Containers
	images     Images
	events     Events
}

// Register adds the routes to s. The function that it returns changes what they tell
// of the engine.
func Register(s *server.Server, cfg Config, containers Containers, images Images, events Events) (change func(Config)) {
	r := &routes{containers: containers, images: images, events: events}
	r.config.Store(&cfg)
	s.Handle("GET /_ping", r.ping)
	s.Handle("HEAD /_ping", r.ping)
	s.Handle("GET /version", r.version)
	s.Handle("GET /info", r.info)
	s.Handle("GET /events", r.stream)
	return func(cfg Config) { r.config.Store(&cfg) }
}
