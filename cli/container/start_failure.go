package container

import (
	"strings"

	"github.com/sampan-containers/sampan/cli/app"
)

// startFailure gives an error of start or exec the exit code that shells use
// for it; Docker derives it from the text too.
func startFailure(err error) int {
	text := err.Error()
	switch {
	case strings.Contains(text, "executable file not found"), strings.Contains(text, "no such file or directory"):
		return app.ExitNotFound
	case strings.Contains(text, "permission denied"), strings.Contains(text, "is a directory"):
		return app.ExitNotExecutable
	}
	return app.ExitEngine
}
