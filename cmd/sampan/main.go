// Command sampan is Sampan's command-line client. It speaks Docker's grammar
// and, called through a link named docker, Docker's name.

// A command ends before a CPU limit of our control group could change. To follow one, the
// Go runtime starts a goroutine and with it a thread: up to a quarter of a short command.
//
//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0
package main

import (
	"os"

	"github.com/sampan-containers/sampan/cli"
	_ "github.com/sampan-containers/sampan/cli/stack"
)

func main() {
	os.Exit(cli.Main(os.Args, os.Stdin, os.Stdout, os.Stderr))
}
