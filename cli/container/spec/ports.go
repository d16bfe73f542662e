package spec

import (
	"github.com/spf13/pflag"

	"github.com/sampan-containers/sampan/cli/value"
)

// ports: what is published on the host.
type ports struct {
	publish, expose value.List
	all             bool
}

func newPorts() *ports { return &ports{} }

func (p *ports) register(fs *pflag.FlagSet) {
	fs.VarP(&p.publish, "publish", "p", "Publish a port ([[IP:]HOST_PORT:]PORT[/PROTOCOL])")
	fs.BoolVarP(&p.all, "publish-all", "P", false, "Publish all exposed ports on random host ports")
	fs.Var(&p.expose, "expose", "Expose a port or a range of ports")
}

func (p *ports) apply(r *Request, _ func(string) bool) (err error) {
	r.Host.PublishAllPorts = p.all
	r.Config.ExposedPorts, r.Host.PortBindings, err = value.Ports(p.publish.Values, p.expose.Values)
	return err
}
