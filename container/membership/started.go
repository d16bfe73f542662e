package membership

import "github.com/sampan-containers/sampan/container/record"

// NoteNetworks writes into a record which networks the container starts in; none of its
// own is "".
func NoteNetworks(r *record.Record, n Networks) {
	r.State.NetworkID, r.State.OtherNetworks = "", nil
	if r.HostConfig.NetworkMode.IsContainer() {
		return
	}
	primary := Primary(r)
	for name := range r.Endpoints {
		_, id, err := n.NetworkOf(name)
		switch {
		case err != nil: // the network is gone: the start says so
		case name == primary:
			r.State.NetworkID = id
		default:
			if r.State.OtherNetworks == nil {
				r.State.OtherNetworks = map[string]string{}
			}
			r.State.OtherNetworks[name] = id
		}
	}
}
