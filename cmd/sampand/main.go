// Command sampand is Sampan's daemon: it owns images, networks and the records
// of containers, and answers the Docker Engine API. Containers do not depend on
// it: it may be stopped, killed or upgraded while they run.
//
// It takes dockerd's flags and daemon.json keys where they make sense; every
// other one is known and refused by name (refused.go). All wiring of services is
// in wire.go.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/pflag"

	"github.com/sampan-containers/sampan/cli/tlspipe"
	"github.com/sampan-containers/sampan/version"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == tlspipe.Verb {
		os.Exit(tlspipe.Main(os.Args[2:])) // for a client on this machine
	}
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "sampand:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	cfg, err := configure(args)
	switch {
	case errors.Is(err, pflag.ErrHelp):
		return nil
	case err != nil:
		return err
	case cfg.version:
		fmt.Printf("Sampan version %s, build %s\n", version.Version, version.Commit)
		return nil
	case cfg.validate:
		fmt.Fprintln(os.Stderr, "configuration OK")
		return nil
	}
	return serve(cfg, args)
}
