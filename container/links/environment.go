package links

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/container"
	mobynet "github.com/moby/moby/api/types/network"

	"github.com/sampan-containers/sampan/container/index"
	"github.com/sampan-containers/sampan/container/record"
)

// Environment is the configuration of a container with the variables of its links put
// before its own, which win.
func Environment(x *index.Index, rec *record.Record) *container.Config {
	var env []string
	for _, l := range of(x, rec) {
		if a := l.address(); a != "" {
			env = append(env, variables(&l, rec.Name, a)...)
		}
	}
	if env == nil {
		return rec.Config
	}
	c := *rec.Config
	c.Env = append(env, c.Env...)
	return &c
}

// variables are those of one link, in Docker's form.
func variables(l *link, owner, address string) []string {
	prefix := strings.ReplaceAll(strings.ToUpper(l.alias), "-", "_")
	ports := exposed(l.to)
	var env []string
	set := func(name, format string, args ...any) {
		env = append(env, prefix+name+"="+fmt.Sprintf(format, args...))
	}
	if len(ports) > 0 {
		set("_PORT", "%s://%s:%d", ports[0].Proto(), address, ports[0].Num())
	}
	for i := 0; i < len(ports); {
		last := contiguous(ports, i)
		if last > i {
			for _, end := range []struct {
				port      mobynet.Port
				name, sub string
			}{{ports[i], "_START", "_PORT_START"}, {ports[last], "_END", "_PORT_END"}} {
				name := portName(ports[i]) // both ends by the first port's
				set(name+end.name, "%s://%s:%d", end.port.Proto(), address, end.port.Num())
				if end.name == "_START" {
					set(name+"_ADDR", "%s", address)
					set(name+"_PROTO", "%s", end.port.Proto())
				}
				set(name+end.sub, "%d", end.port.Num())
			}
		}
		i = last + 1
	}
	for _, p := range ports {
		name := portName(p)
		set(name, "%s://%s:%d", p.Proto(), address, p.Num())
		set(name+"_ADDR", "%s", address)
		set(name+"_PORT", "%d", p.Num())
		set(name+"_PROTO", "%s", p.Proto())
	}
	set("_NAME", "/%s/%s", owner, l.alias)
	for _, v := range l.to.Config.Env {
		// HOME and PATH say nothing to anybody else.
		if name, value, ok := strings.Cut(v, "="); ok && name != "HOME" && name != "PATH" {
			set("_ENV_"+name, "%s", value)
		}
	}
	return env
}

func portName(p mobynet.Port) string {
	return fmt.Sprintf("_PORT_%d_%s", p.Num(), strings.ToUpper(string(p.Proto())))
}

// exposed are the ports of a container, in order; tcp comes first.
func exposed(rec *record.Record) []mobynet.Port {
	var ports []mobynet.Port
	for p := range rec.Config.ExposedPorts {
		ports = append(ports, p)
	}
	for p := range rec.HostConfig.PortBindings {
		if !slices.Contains(ports, p) {
			ports = append(ports, p)
		}
	}
	slices.SortFunc(ports, func(a, b mobynet.Port) int {
		return cmp.Or(cmp.Compare(a.Num(), b.Num()), cmp.Compare(string(a.Proto()), string(b.Proto())))
	})
	return ports
}

// contiguous is the index of the last port of the range of one protocol that begins at i.
func contiguous(ports []mobynet.Port, i int) int {
	for i+1 < len(ports) && ports[i+1].Num() == ports[i].Num()+1 && ports[i+1].Proto() == ports[i].Proto() {
		i++
	}
	return i
}
