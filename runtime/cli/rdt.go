package cli

import "github.com/sampan-containers/sampan/runtime/rdt"

// leaveRDT removes the container's resctrl group.
func (k *container) leaveRDT() error {
	if k.Spec != nil && (k.Spec.Linux == nil || k.Spec.Linux.IntelRdt == nil) {
		return nil // the rule; without a specification it was killed while it was made
	}
	return rdt.Leave(k.path)
}
