package container

import (
	"errors"
	"fmt"

	"github.com/moby/moby/api/types/container"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
	"github.com/sampan-containers/sampan/cli/container/recreate"
	"github.com/sampan-containers/sampan/cli/container/spec"
	"github.com/sampan-containers/sampan/cli/value"
)

type updateOptions struct {
	limits                      container.Resources
	memory, reservation, kernel value.Bytes
	swap                        value.SwapBytes
	cpus                        value.CPUs
	pids                        int64
	restart                     string
	publish, devices, rules     value.List
	ulimits                     value.Ulimits
	changes                     recreate.Changes
}

func (o *updateOptions) register(fs *pflag.FlagSet) {
	fs.Uint16Var(&o.limits.BlkioWeight, "blkio-weight", 0, "Block I/O weight (10 to 1000, 0 to disable)")
	fs.Int64Var(&o.limits.CPUPeriod, "cpu-period", 0, "Period of the processor quota in microseconds")
	fs.Int64Var(&o.limits.CPUQuota, "cpu-quota", 0, "Processor time within a period in microseconds")
	fs.Int64Var(&o.limits.CPURealtimePeriod, "cpu-rt-period", 0, "Real-time period in microseconds")
	fs.Int64Var(&o.limits.CPURealtimeRuntime, "cpu-rt-runtime", 0, "Real-time runtime in microseconds")
	fs.Int64VarP(&o.limits.CPUShares, "cpu-shares", "c", 0, "Processor shares (relative weight)")
	fs.Var(&o.cpus, "cpus", "Number of processors")
	fs.StringVar(&o.limits.CpusetCpus, "cpuset-cpus", "", "Processors that may be used (0-3, 0,1)")
	fs.StringVar(&o.limits.CpusetMems, "cpuset-mems", "", "Memory nodes that may be used (0-3, 0,1)")
	fs.Var(&o.kernel, "kernel-memory", "Kernel memory limit")
	// Registered just above, so the call cannot fail.
	_ = fs.MarkHidden("kernel-memory")
	o.devices, o.rules = value.NewList(value.CheckDevice), value.NewList(value.CheckDeviceRule)
	fs.Var(&o.devices, "device", "Add a host device, also while the container runs (HOST[:CONTAINER][:PERMISSIONS])")
	fs.Var(&o.rules, "device-cgroup-rule", "Add a rule to the list of allowed devices")
	fs.Var(&o.ulimits, "ulimit", "Ulimit of all processes (NAME=SOFT[:HARD])")
	fs.VarP(&o.memory, "memory", "m", "Memory limit")
	fs.Var(&o.reservation, "memory-reservation", "Memory soft limit")
	fs.Var(&o.swap, "memory-swap", "Limit of memory plus swap (-1 for unlimited swap)")
	fs.Int64Var(&o.pids, "pids-limit", 0, "Limit of processes (-1 for unlimited)")
	fs.VarP(&o.publish, "publish", "p", "Publish one more port, also while the container runs (see port add)")
	o.changes.Register(fs)
	fs.StringVar(&o.restart, "restart", "", "Restart policy to apply when the container ends")
}

func (o *updateOptions) request(set func(string) bool) (client.ContainerUpdateOptions, error) {
	policy, err := value.RestartPolicy(o.restart)
	if err != nil {
		return client.ContainerUpdateOptions{}, err
	}
	r := o.limits
	r.Memory, r.MemoryReservation, r.MemorySwap, r.NanoCPUs = int64(o.memory), int64(o.reservation), int64(o.swap), int64(o.cpus)
	r.DeviceCgroupRules, r.Ulimits = o.rules.Values, o.ulimits.Values
	for _, spec := range o.devices.Values {
		d, err := value.Device(spec)
		if err != nil {
			return client.ContainerUpdateOptions{}, err
		}
		r.Devices = append(r.Devices, d)
	}
	if set("pids-limit") {
		r.PidsLimit = &o.pids
	}
	return client.ContainerUpdateOptions{Resources: &r, RestartPolicy: &policy}, nil
}

// NewUpdate makes `update`.
func NewUpdate(a *app.App) *cobra.Command {
	var o updateOptions
	cmd := named(&cobra.Command{
		Use:   "update [OPTIONS] CONTAINER [CONTAINER...]",
		Short: "Update the limits and the restart policy of one or more containers",
		Long: "Update the limits and the restart policy of one or more containers, at once.\n\n" +
			"Variables, labels and mounts are changed by a restart: the container is replaced by one with the\n" +
			"same settings, image and volumes (see recreate).",
		Args:              app.MinArgs(1),
		ValidArgsFunction: complete.Containers(a, complete.All),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().NFlag() == 0 {
				return errors.New("you must provide one or more flags when using this command")
			}
			req, err := o.request(cmd.Flags().Changed)
			if err != nil {
				return err
			}
			_, bindings, err := value.Ports(o.publish.Values, nil)
			if err != nil {
				return err
			}
			if o.kernel != 0 {
				printWarnings(a, []string{spec.KernelMemory})
			}
			conn, err := a.Connect()
			if err != nil {
				return err
			}
			return a.ForEach(args, func(name string) error {
				if len(bindings) > 0 {
					err := conn.ContainerPorts(cmd.Context(), name, client.ContainerPortsOptions{Add: bindings})
					if err != nil || cmd.Flags().NFlag() == 1 {
						return err
					}
				}
				got, err := conn.ContainerUpdate(cmd.Context(), name, req)
				for _, w := range got.Warnings {
					fmt.Fprintf(a.Err.Text(), "WARNING: %s\n", w)
				}
				if err == nil && o.changes.Given() {
					err = o.changes.Apply(cmd.Context(), conn, name)
				}
				return err
			})
		},
	}, "container update, update")
	o.register(cmd.Flags())
	return cmd
}
