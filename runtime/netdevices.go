package runtime

import (
	"fmt"
	"os"
	"sort"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/runtime/netdev"
)

// moveNetDevices moves linux.netDevices into the network namespace of the process.
func (l *launcher) moveNetDevices(pid int) error {
	if len(l.linux.NetDevices) == 0 {
		return nil
	}
	if !l.ns.private(unix.CLONE_NEWNET) {
		return fault.New(fault.Invalid, "linux.netDevices needs a network namespace of the container's own")
	}
	netns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return fmt.Errorf("open the container's network namespace: %s", plain(err))
	}
	defer netns.Close()
	names := make([]string, 0, len(l.linux.NetDevices))
	for name := range l.linux.NetDevices {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		if err := netdev.Move(netns, name, l.linux.NetDevices[name].Name); err != nil {
			return err
		}
	}
	return nil
}
