// Package cp is the verb `cp`: files between a container and this machine, or another
// container.
package cp

import (
	"errors"
	"io"
	"path/filepath"
	"strings"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/complete"
	"github.com/sampan-containers/sampan/cli/connect"
)

type cpOptions struct{ archive, followLink, quiet bool }

// copyJob is one run of cp.
type copyJob struct {
	cpOptions
	a    *app.App
	conn *connect.Conn
}

// New makes `cp`.
func New(a *app.App) *cobra.Command {
	var o cpOptions
	cmd := &cobra.Command{
		Annotations: map[string]string{app.AliasesKey: "container cp, cp"},
		Use:         "cp [OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\tcp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH\n\tcp [OPTIONS] CONTAINER:SRC_PATH CONTAINER:DEST_PATH",
		Short:       "Copy files and directories between containers and this machine",
		Long: "Copy files and directories between a container and this machine.\n\n" +
			"\"-\" as the source reads a tar archive from standard input and unpacks it in the container's directory;\n" +
			"as the destination it writes a tar archive to standard output.",
		Args:              app.ExactArgs(2),
		ValidArgsFunction: complete.FirstContainer(a, complete.All),
		RunE: func(cmd *cobra.Command, args []string) error {
			if args[0] == "" {
				return errors.New("source can not be empty")
			}
			if args[1] == "" {
				return errors.New("destination can not be empty")
			}
			if !cmd.Flags().Changed("quiet") {
				o.quiet = !a.Out.IsTerminal()
			}
			from, src := splitCopyArg(args[0])
			to, dst := splitCopyArg(args[1])
			switch {
			case from == "" && to == "":
				return errors.New("must specify at least one container source")
			}
			conn, err := a.Connect()
			if err != nil {
				return err
			}
			j := &copyJob{o, a, conn}
			switch {
			case from != "" && to != "":
				return j.between(cmd.Context(), from, src, to, dst)
			case from != "":
				return j.out(cmd.Context(), from, src, dst)
			}
			return j.in(cmd.Context(), src, to, dst)
		},
	}
	fs := cmd.Flags()
	fs.BoolVarP(&o.archive, "archive", "a", false, "Keep owner and group; into a container, give the files to its user")
	fs.BoolVarP(&o.followLink, "follow-link", "L", false, "Follow a symbolic link in SRC_PATH")
	fs.BoolVarP(&o.quiet, "quiet", "q", false, "Print nothing; the default when standard output is not a terminal")
	return cmd
}

// splitCopyArg tells CONTAINER:PATH from a local path: one that is absolute or
// begins with a dot.
func splitCopyArg(arg string) (container, path string) {
	if filepath.IsAbs(arg) {
		return "", arg
	}
	name, path, ok := strings.Cut(arg, ":")
	if !ok || strings.HasPrefix(name, ".") {
		return "", arg
	}
	return name, path
}

// counted counts the bytes of a stream.
type counted struct {
	io.Reader
	n int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	return n, err
}

func (j *copyJob) done(n int64, where string) {
	if !j.quiet {
		j.a.PrintError(errors.New("Successfully copied " + units.HumanSizeWithPrecision(float64(n), 3) + " to " + where))
	}
}

// keepEnd cleans a path and keeps what a slash or "/." at its end says.
func keepEnd(clean, given string) string {
	switch {
	case clean == "/":
	case given == "." || strings.HasSuffix(given, "/."):
		clean += "/."
	case strings.HasSuffix(given, "/"):
		clean += "/"
	}
	return clean
}

// isDirPath tells that a path can only be a directory.
func isDirPath(p string) bool {
	return p == "." || strings.HasSuffix(p, "/") || strings.HasSuffix(p, "/.")
}

var (
	errDevice    = errors.New("got a device")
	errIrregular = errors.New("got an irregular file")
)
