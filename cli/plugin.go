package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/contextstore"
)

// Docker's command line takes further commands from programs named docker-NAME
// in these directories, after those of the configuration: compose is one.
var pluginDirs = []string{
	"/usr/local/lib/docker/cli-plugins", "/usr/local/libexec/docker/cli-plugins",
	"/usr/lib/docker/cli-plugins", "/usr/libexec/docker/cli-plugins",
}

const pluginPrefix = "docker-"

// findPlugin returns the program of a command, or "".
func findPlugin(a *app.App, command string) string {
	plain := func(r rune) bool { return r >= 'a' && r <= 'z' || r >= '0' && r <= '9' }
	if command == "" || strings.ContainsFunc(command, func(r rune) bool { return !plain(r) }) {
		return ""
	}
	dirs := slices.Clone(a.Config().PluginDirs)
	if dir := a.ConfigDir(); dir != "" {
		dirs = append([]string{filepath.Join(dir, "cli-plugins")}, dirs...)
	}
	for _, dir := range append(dirs, pluginDirs...) {
		path := filepath.Join(dir, pluginPrefix+command)
		if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			return path
		}
	}
	return ""
}

// runPlugin becomes the plugin, which reads the whole command line itself: it
// knows the same global flags and contexts. Its own default is docker.io's
// socket, so ours is named to it. It returns only an error.
func runPlugin(ctx context.Context, a *app.App, path string) error {
	env := append(os.Environ(), "DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND="+a.Name)
	if a.Global.Host == "" && a.ContextName() == contextstore.Default {
		conn, err := a.Connect()
		if err != nil {
			return err
		}
		// So that a daemon is started, as for a command of our own. That there is
		// none is the plugin's to say: not all it does needs one.
		_, _ = conn.Ping(ctx, client.PingOptions{})
		env = append(env, "DOCKER_HOST="+conn.Host())
	}
	err := unix.Exec(path, append([]string{path}, a.Args...), env)
	return fmt.Errorf("run %s: %w", path, err)
}
