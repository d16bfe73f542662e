package system

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/moby/moby/api/types/system"
	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
	"github.com/sampan-containers/sampan/cli/connect"
	"github.com/sampan-containers/sampan/cli/format"
	"github.com/sampan-containers/sampan/cli/terminal"
	"github.com/sampan-containers/sampan/version"
)

// NewVersion makes `version`.
func NewVersion(a *app.App) *cobra.Command {
	var tmpl string
	cmd := &cobra.Command{
		Use:               "version [OPTIONS]",
		Short:             "Show the versions of client and daemon",
		Args:              app.NoArgs,
		ValidArgsFunction: complete.None,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return showVersion(cmd.Context(), a, tmpl)
		},
	}
	cmd.Flags().StringVarP(&tmpl, "format", "f", "", app.FormatHelp)
	return cmd
}

// clientVersion has the keys of Docker's.
type clientVersion struct {
	Platform          struct{ Name string } `json:"Platform,omitempty"`
	Version           string
	APIVersion        string `json:"ApiVersion"`
	DefaultAPIVersion string `json:"DefaultAPIVersion,omitempty"`
	GitCommit         string
	GoVersion         string
	Os                string
	Arch              string
	BuildTime         string `json:"BuildTime,omitempty"`
	Context           string
}

type versions struct {
	Client clientVersion
	Server *system.VersionResponse
}

// ServerOK tells templates whether the daemon answered.
func (v versions) ServerOK() bool { return v.Server != nil }

// showVersion prints the client's part also when the daemon is away.
func showVersion(ctx context.Context, a *app.App, tmpl string) error {
	v := versions{Client: ownVersion(a)}
	conn, serverErr := a.Connect()
	if serverErr == nil {
		v.Server, serverErr = serverVersion(ctx, conn)
		v.Client.APIVersion = conn.APIVersion()
	}
	if a.Out.IsTerminal() && v.Server != nil {
		terminal.CleanDeep(v.Server)
	}
	var err error
	if tmpl != "" {
		err = execute(a.Out, tmpl, v)
	} else {
		err = v.print(a.Out)
	}
	// A template that wants the daemon's part fails because there is none.
	if err != nil && (serverErr == nil || tmpl == "") {
		return err
	}
	return serverErr
}

func ownVersion(a *app.App) clientVersion {
	v := clientVersion{
		Version: version.Version, APIVersion: client.MaxAPIVersion, DefaultAPIVersion: client.MaxAPIVersion,
		GitCommit: version.Commit, GoVersion: runtime.Version(), Os: runtime.GOOS, Arch: runtime.GOARCH, BuildTime: builtAt(), Context: a.ContextName(),
	}
	v.Platform.Name = "Sampan"
	return v
}

func serverVersion(ctx context.Context, conn *connect.Conn) (*system.VersionResponse, error) {
	got, err := conn.ServerVersion(ctx, client.ServerVersionOptions{})
	if err != nil {
		return nil, err
	}
	v := &system.VersionResponse{
		Platform: system.PlatformInfo{Name: got.Platform.Name}, Version: got.Version, APIVersion: got.APIVersion,
		MinAPIVersion: got.MinAPIVersion, Os: got.Os, Arch: got.Arch, Components: got.Components,
	}
	// The client library leaves these to the components.
	for _, c := range got.Components {
		if c.Name == "Engine" {
			v.GitCommit, v.GoVersion, v.KernelVersion = c.Details["GitCommit"], c.Details["GoVersion"], c.Details["KernelVersion"]
			v.BuildTime, v.Experimental = c.Details["BuildTime"], c.Details["Experimental"] == "true"
		}
	}
	return v, nil
}

func execute(w io.Writer, text string, v any) error {
	if text == "json" {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		return enc.Encode(v)
	}
	t, err := format.Parse(text)
	if err != nil {
		return &app.UsageError{Err: err, Code: 64}
	}
	if err := t.Execute(w, v); err != nil {
		return fmt.Errorf("template parsing error: %w", err)
	}
	_, err = io.WriteString(w, "\n")
	return err
}

func (v versions) print(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 20, 1, 1, ' ', 0)
	c := v.Client
	fmt.Fprintf(tw, "Client: %s\n Version:\t%s\n API version:\t%s", c.Platform.Name, c.Version, c.APIVersion)
	if c.APIVersion != c.DefaultAPIVersion {
		fmt.Fprintf(tw, " (downgraded from %s)", c.DefaultAPIVersion)
	}
	fmt.Fprintf(tw, "\n Go version:\t%s\n Git commit:\t%s\n", c.GoVersion, c.GitCommit)
	if c.BuildTime != "" {
		fmt.Fprintf(tw, " Built:\t%s\n", c.BuildTime)
	}
	fmt.Fprintf(tw, " OS/Arch:\t%s/%s\n Context:\t%s\n", c.Os, c.Arch, c.Context)
	if v.Server != nil {
		v.printServer(tw)
	}
	return tw.Flush()
}

func (v versions) printServer(tw io.Writer) {
	s := v.Server
	fmt.Fprintf(tw, "\nServer: %s\n", s.Platform.Name)
	for _, comp := range s.Components {
		fmt.Fprintf(tw, " %s:\n  Version:\t%s\n", comp.Name, comp.Version)
		if comp.Name != "Engine" {
			for _, key := range slices.Sorted(maps.Keys(comp.Details)) {
				fmt.Fprintf(tw, "  %s:\t%s\n", key, comp.Details[key])
			}
			continue
		}
		d := comp.Details
		fmt.Fprintf(tw, "  API version:\t%s (minimum version %s)\n", s.APIVersion, s.MinAPIVersion)
		for _, line := range []struct{ label, key string }{{"Go version", "GoVersion"}, {"Git commit", "GitCommit"}, {"Built", "BuildTime"}} {
			if d[line.key] != "" {
				fmt.Fprintf(tw, "  %s:\t%s\n", line.label, d[line.key])
			}
		}
		fmt.Fprintf(tw, "  OS/Arch:\t%s/%s\n", s.Os, s.Arch)
		if d["Experimental"] != "" {
			fmt.Fprintf(tw, "  Experimental:\t%s\n", strings.ToLower(d["Experimental"]))
		}
	}
	if len(s.Components) == 0 {
		fmt.Fprintf(tw, " Version:\t%s\n API version:\t%s (minimum version %s)\n OS/Arch:\t%s/%s\n", s.Version, s.APIVersion, s.MinAPIVersion, s.Os, s.Arch)
	}
}

// builtAt is the commit's time, which the Go tool records.
func builtAt() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.time" {
			return s.Value
		}
	}
	return ""
}
