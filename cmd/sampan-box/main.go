// Command sampan-box is a shell and core tools in one static binary; sampand
// carries it as the image sampan/box. See package box.
package main

import (
	"os"

	"github.com/sampan-containers/sampan/box"
)

func main() { os.Exit(box.Main(os.Args)) }
