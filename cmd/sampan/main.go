// Command sampan is Sampan's command-line client. It speaks Docker's grammar
// and, called through a link named docker, Docker's name.
package main

import (
	"os"

	"github.com/sampan-containers/sampan/cli"
	_ "github.com/sampan-containers/sampan/cli/stack"
)

func main() {
	os.Exit(cli.Main(os.Args, os.Stdin, os.Stdout, os.Stderr))
}
