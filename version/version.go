// Package version holds what the linker tells the binaries about themselves.
package version

// Version and Commit are set by -ldflags -X in the Makefile.
var (
	Version = "0.1.0-dev"
	Commit  = "unknown"
)
