// Command sampan-box is a shell and core tools in one static binary; sampand
// carries it as the image sampan/box. See package box.

// A tool ends before a CPU limit of our control group could change: see cmd/sampan.
//
//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0
package main

import (
	"os"

	"github.com/sampan-containers/sampan/box"
)

func main() { os.Exit(box.Main(os.Args)) }
