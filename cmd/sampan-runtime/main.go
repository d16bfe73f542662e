// Sampan-runtime starts containers. It has two faces: "sampan-runtime shim" is the
// supervisor of one container, started by the daemon; everything else is the
// command line of an OCI runtime (see package runtime/cli).

// How many threads may run Go code matters to nothing here, so the Go runtime need not
// follow the CPU limit of our control group: two descriptors and a goroutine for as
// long as a supervisor lives.
//
//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0
package main

import (
	"os"
	"runtime"

	"github.com/sampan-containers/sampan/runtime/checkpoint"
	"github.com/sampan-containers/sampan/runtime/cli"
	"github.com/sampan-containers/sampan/shim/server"
	"github.com/sampan-containers/sampan/version"
)

func main() {
	runtime.MemProfileRate = 0 // nobody asks for the profile, and its tables are memory of each supervisor
	if len(os.Args) > 1 && os.Args[1] == "shim" {
		os.Exit(server.Main())
	}
	if len(os.Args) > 1 && os.Args[1] == "dump" {
		if err := checkpoint.Help(os.Stdin); err != nil {
			os.Stderr.WriteString(err.Error())
			os.Exit(1)
		}
		return
	}
	p := &cli.Program{
		Version: version.Version, Commit: version.Commit,
		Args: os.Args, Stdout: os.Stdout, Stderr: os.Stderr,
	}
	os.Exit(p.Main())
}
