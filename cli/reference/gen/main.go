// Command gen writes the pages of docs/commands into the directory that is named.
package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/sampan-containers/sampan/cli"
	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/reference"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: gen DIRECTORY")
		os.Exit(2)
	}
	root := cli.NewRoot(app.New("sampan", strings.NewReader(""), io.Discard, io.Discard), nil)
	if err := reference.Write(os.Args[1], root); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
