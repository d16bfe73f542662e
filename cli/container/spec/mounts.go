package spec

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"github.com/sampan-containers/sampan/cli/value"
)

// mounts: volumes, binds, tmpfs and the root file system.
type mounts struct {
	mounts                      value.Mounts
	volumes, tmpfs, volumesFrom value.List
	storageOpts                 value.List
	volumeDriver                string
	readOnly                    bool
	shmSize                     value.Bytes
}

func newMounts() *mounts { return &mounts{} }

func (m *mounts) register(fs *pflag.FlagSet) {
	fs.Var(&m.mounts, "mount", "Attach a file system (type=TYPE,source=SOURCE,target=TARGET,...)")
	fs.VarP(&m.volumes, "volume", "v", "Bind mount a volume or a host path ([SOURCE:]TARGET[:OPTIONS])")
	fs.Var(&m.tmpfs, "tmpfs", "Mount a tmpfs (PATH[:OPTIONS])")
	fs.Var(&m.volumesFrom, "volumes-from", "Mount the volumes of another container (NAME[:ro|rw])")
	fs.StringVar(&m.volumeDriver, "volume-driver", "", "Volume driver")
	fs.Var(&m.storageOpts, "storage-opt", "Option for the storage driver (KEY=VALUE)")
	fs.BoolVar(&m.readOnly, "read-only", false, "Mount the root file system read-only")
	fs.Var(&m.shmSize, "shm-size", "Size of /dev/shm")
}

func (m *mounts) apply(r *Request, _ func(string) bool) (err error) {
	h := r.Host
	h.Mounts, h.VolumesFrom, h.VolumeDriver = m.mounts.Values, m.volumesFrom.Values, m.volumeDriver
	h.ReadonlyRootfs, h.ShmSize = m.readOnly, int64(m.shmSize)
	h.Tmpfs = value.Tmpfs(m.tmpfs.Values)
	for _, opt := range m.storageOpts.Values {
		key, val, ok := strings.Cut(opt, "=")
		if !ok {
			return fmt.Errorf("invalid storage option: %q (use KEY=VALUE)", opt)
		}
		if h.StorageOpt == nil {
			h.StorageOpt = map[string]string{}
		}
		h.StorageOpt[key] = val
	}
	h.Binds, r.Config.Volumes, err = value.Volumes(m.volumes.Values)
	return err
}
