package system

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/system"
	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
	"github.com/sampan-containers/sampan/cli/terminal"
)

// NewInfo makes `info`.
func NewInfo(a *app.App) *cobra.Command {
	var tmpl string
	cmd := named(&cobra.Command{
		Use:               "info [OPTIONS]",
		Short:             "Show the state of the engine",
		Args:              app.NoArgs,
		ValidArgsFunction: complete.None,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return showInfo(cmd.Context(), a, tmpl)
		},
	}, "system info, info")
	cmd.Flags().StringVarP(&tmpl, "format", "f", "", app.FormatHelp)
	return cmd
}

type clientInfo struct {
	Debug bool
	clientVersion
	Plugins  []string
	Warnings []string
}

// info has the keys of Docker's: the daemon's at the top, the client's below
// ClientInfo.
type info struct {
	*system.Info `json:",omitempty"`
	ServerErrors []string    `json:",omitempty"`
	ClientInfo   *clientInfo `json:",omitempty"`
}

func showInfo(ctx context.Context, a *app.App, tmpl string) error {
	i := info{ClientInfo: &clientInfo{Debug: a.Global.Debug, clientVersion: ownVersion(a), Plugins: []string{}}}
	conn, err := a.Connect()
	if err == nil {
		var got client.SystemInfoResult
		if got, err = conn.Info(ctx, client.InfoOptions{}); err == nil {
			i.Info = &got.Info
		}
	}
	if err != nil {
		i.ServerErrors = append(i.ServerErrors, app.Message(err))
		i.Info = &system.Info{}
	}
	if a.Out.IsTerminal() {
		terminal.CleanDeep(i.Info)
	}
	if tmpl != "" {
		if printErr := execute(a.Out, tmpl, i); printErr != nil {
			return printErr
		}
		return err
	}
	fmt.Fprintf(a.Out, "Client: Sampan\n Version:    %s\n Context:    %s\n Debug Mode: %t\n\nServer:\n", i.ClientInfo.Version, i.ClientInfo.Context, i.ClientInfo.Debug)
	if err != nil {
		return err
	}
	printInfo(a.Out, i.Info)
	for _, w := range i.Warnings {
		fmt.Fprintln(a.Err.Text(), w)
	}
	return nil
}

// line prints one value unless it is empty.
func line(w io.Writer, indent, label, value string) {
	if value != "" {
		fmt.Fprintf(w, "%s%s: %s\n", indent, label, value)
	}
}

func printInfo(w io.Writer, i *system.Info) {
	fmt.Fprintf(w, " Containers: %d\n  Running: %d\n  Paused: %d\n  Stopped: %d\n Images: %d\n", i.Containers, i.ContainersRunning, i.ContainersPaused, i.ContainersStopped, i.Images)
	line(w, " ", "Server Version", i.ServerVersion)
	line(w, " ", "Storage Driver", i.Driver)
	for _, pair := range i.DriverStatus {
		fmt.Fprintf(w, "  %s: %s\n", pair[0], pair[1])
	}
	line(w, " ", "Logging Driver", i.LoggingDriver)
	line(w, " ", "Cgroup Driver", i.CgroupDriver)
	line(w, " ", "Cgroup Version", i.CgroupVersion)
	fmt.Fprintln(w, " Plugins:")
	line(w, "  ", "Volume", strings.Join(i.Plugins.Volume, " "))
	line(w, "  ", "Network", strings.Join(i.Plugins.Network, " "))
	line(w, "  ", "Authorization", strings.Join(i.Plugins.Authorization, " "))
	line(w, "  ", "Log", strings.Join(i.Plugins.Log, " "))
	line(w, " ", "Swarm", string(i.Swarm.LocalNodeState))
	line(w, " ", "Runtimes", strings.Join(slices.Sorted(maps.Keys(i.Runtimes)), " "))
	line(w, " ", "Default Runtime", i.DefaultRuntime)
	line(w, " ", "Init Binary", i.InitBinary)
	line(w, " ", "containerd version", i.ContainerdCommit.ID)
	line(w, " ", "runc version", i.RuncCommit.ID)
	line(w, " ", "init version", i.InitCommit.ID)
	if len(i.SecurityOptions) > 0 {
		fmt.Fprintln(w, " Security Options:")
		for _, o := range i.SecurityOptions {
			printSecurity(w, o)
		}
	}
	if i.FirewallBackend != nil {
		line(w, " ", "Firewall Backend", i.FirewallBackend.Driver)
	}
	line(w, " ", "Kernel Version", i.KernelVersion)
	line(w, " ", "Operating System", i.OperatingSystem)
	line(w, " ", "OSType", i.OSType)
	line(w, " ", "Architecture", i.Architecture)
	fmt.Fprintf(w, " CPUs: %d\n Total Memory: %s\n", i.NCPU, units.BytesSize(float64(i.MemTotal)))
	line(w, " ", "Name", i.Name)
	line(w, " ", "ID", i.ID)
	line(w, " ", "Docker Root Dir", i.DockerRootDir)
	fmt.Fprintf(w, " Debug Mode: %t\n", i.Debug)
	line(w, " ", "HTTP Proxy", i.HTTPProxy)
	line(w, " ", "HTTPS Proxy", i.HTTPSProxy)
	line(w, " ", "No Proxy", i.NoProxy)
	if len(i.Labels) > 0 {
		fmt.Fprintln(w, " Labels:")
		for _, l := range i.Labels {
			fmt.Fprintf(w, "  %s\n", l)
		}
	}
	fmt.Fprintf(w, " Experimental: %t\n", i.ExperimentalBuild)
	if i.RegistryConfig != nil {
		printRegistries(w, i)
	}
	fmt.Fprintf(w, " Live Restore Enabled: %t\n", i.LiveRestoreEnabled)
	if len(i.DefaultAddressPools) > 0 {
		fmt.Fprintln(w, " Default Address Pools:")
		for _, p := range i.DefaultAddressPools {
			fmt.Fprintf(w, "   Base: %s, Size: %d\n", p.Base, p.Size)
		}
	}
	fmt.Fprintln(w)
}

// printSecurity turns "name=seccomp,profile=builtin" into a small tree.
func printSecurity(w io.Writer, option string) {
	for i, part := range strings.Split(option, ",") {
		key, val, ok := strings.Cut(part, "=")
		switch {
		case !ok || key == "name":
			if i == 0 {
				fmt.Fprintf(w, "  %s\n", strings.TrimPrefix(part, "name="))
			}
		case key == "profile":
			fmt.Fprintf(w, "   Profile: %s\n", val)
		default:
			fmt.Fprintf(w, "   %s: %s\n", key, val)
		}
	}
}

func printRegistries(w io.Writer, i *system.Info) {
	var insecure []string
	for _, r := range i.RegistryConfig.IndexConfigs {
		if !r.Secure {
			insecure = append(insecure, r.Name)
		}
	}
	slices.Sort(insecure)
	for _, c := range i.RegistryConfig.InsecureRegistryCIDRs {
		insecure = append(insecure, c.String())
	}
	if len(insecure) > 0 {
		fmt.Fprintf(w, " Insecure Registries:\n  %s\n", strings.Join(insecure, "\n  "))
	}
	if len(i.RegistryConfig.Mirrors) > 0 {
		fmt.Fprintf(w, " Registry Mirrors:\n  %s\n", strings.Join(i.RegistryConfig.Mirrors, "\n  "))
	}
}
