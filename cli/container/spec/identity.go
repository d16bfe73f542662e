package spec

import (
	"github.com/spf13/pflag"

	"github.com/sampan-containers/sampan/cli/value"
)

// identity: labels, annotations and the names a container has for itself.
type identity struct {
	hostname, domainname string
	labels, labelFiles   value.List
	annotations          value.Map
}

func newIdentity() *identity {
	return &identity{labels: value.NewList(value.CheckLabel), annotations: value.NewMap(nil)}
}

func (i *identity) register(fs *pflag.FlagSet) {
	fs.StringVarP(&i.hostname, "hostname", "h", "", "Host name inside the container")
	fs.StringVar(&i.domainname, "domainname", "", "NIS domain name inside the container")
	fs.VarP(&i.labels, "label", "l", "Set a label (KEY=VALUE)")
	fs.Var(&i.labelFiles, "label-file", "Read labels from a file, one a line")
	fs.Var(&i.annotations, "annotation", "Pass an annotation to the OCI runtime (KEY=VALUE)")
}

func (i *identity) apply(r *Request, _ func(string) bool) (err error) {
	r.Config.Hostname, r.Config.Domainname = i.hostname, i.domainname
	r.Host.Annotations = i.annotations.Values
	r.Config.Labels, err = value.Labels(i.labelFiles.Values, i.labels.Values)
	return err
}
