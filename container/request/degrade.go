package request

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/blkiodev"
	"github.com/moby/moby/api/types/container"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/container/ocispec"
)

// Degrade takes away what this machine cannot do and what a container can do
// without, as Docker does, and returns a warning for each.
func (d *Defaults) Degrade(hc *container.HostConfig) (warnings []string) {
	if hc.OomKillDisable != nil && *hc.OomKillDisable && hc.Memory == 0 && !d.CgroupV2 {
		warnings = append(warnings, "OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources.")
	}
	for _, o := range hc.SecurityOpt {
		key, value, _ := strings.Cut(strings.Replace(o, ":", "=", 1), "=")
		switch {
		case key == "apparmor" && value != "" && value != "unconfined" && !ocispec.HasAppArmor():
			warnings = append(warnings, "The kernel has no AppArmor. Profile "+value+" discarded.")
		case key == "label" && value != "disable" && !ocispec.HasSELinux():
			warnings = append(warnings, "The kernel has no SELinux. Label "+value+" discarded.")
		}
	}
	return append(warnings, d.degradeWeights(&hc.Resources)...)
}

// degradeWeights drops the block I/O weights that no scheduler of this machine
// would look at. Only BFQ (and CFQ, before Linux 5.0) knows them.
func (d *Defaults) degradeWeights(r *container.Resources) (warnings []string) {
	if d.CgroupV2 {
		return nil // io.weight also serves the io.cost controller; the kernel says what it lacks
	}
	if r.BlkioWeight != 0 && !weighs("") {
		r.BlkioWeight = 0
		warnings = append(warnings, "Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.")
	}
	var kept []*blkiodev.WeightDevice
	for _, w := range r.BlkioWeightDevice {
		if w != nil && weighs(w.Path) {
			kept = append(kept, w)
		}
	}
	if len(kept) < len(r.BlkioWeightDevice) {
		r.BlkioWeightDevice = kept
		warnings = append(warnings, "Your kernel does not support Block I/O weight_device or the cgroup is not mounted. Weight-device discarded.")
	}
	return warnings
}

// weighs tells whether a device's I/O scheduler knows weights; "" stands for any
// device of the machine. A path that is no block device counts as one that does:
// it is refused by its name later.
func weighs(device string) bool {
	pattern := "/sys/block/*/queue/scheduler"
	if device != "" {
		var st unix.Stat_t
		if unix.Stat(device, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFBLK {
			return true
		}
		// A partition has its disk's queue.
		disk, err := filepath.EvalSymlinks(filepath.Join("/sys/dev/block", deviceNumber(st.Rdev)))
		if err != nil {
			return true
		}
		if _, err := os.Stat(filepath.Join(disk, "partition")); err == nil {
			disk = filepath.Dir(disk)
		}
		pattern = filepath.Join(disk, "queue/scheduler")
	}
	files, _ := filepath.Glob(pattern)
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err == nil && (strings.Contains(string(raw), "[bfq]") || strings.Contains(string(raw), "[cfq]")) {
			return true
		}
	}
	return false
}

func deviceNumber(dev uint64) string {
	return fmt.Sprintf("%d:%d", unix.Major(dev), unix.Minor(dev))
}

// storageSize is the one option of --storage-opt: a limit of the writable layer.
const storageSize = "size"

// checkStorageOptions looks at the words; whether the file system can is found when the
// writable layer is made.
func checkStorageOptions(options map[string]string) error {
	for key, value := range options {
		if key != storageSize {
			return invalid("Unknown option %s", key)
		}
		if n, err := units.RAMInBytes(value); err != nil || n <= 0 {
			return invalid("invalid value for storage option size: %q (use a size such as 10g)", value)
		}
	}
	return nil
}

// StorageSize is what a checked container's writable layer may take, in bytes; 0 is no
// limit.
func StorageSize(hc *container.HostConfig) int64 {
	n, err := units.RAMInBytes(hc.StorageOpt[storageSize])
	if err != nil {
		return 0
	}
	return n
}
