package app

import (
	"cmp"
	"errors"
	"os"

	"github.com/sampan-containers/sampan/cli/connect"
	"github.com/sampan-containers/sampan/cli/contextstore"
)

// Contexts is the store of the user's contexts.
func (a *App) Contexts() contextstore.Store { return contextstore.New(a.ConfigDir()) }

// HostVariable is the environment variable that names the daemon, or "".
func HostVariable() string {
	for _, name := range []string{"SAMPAN_HOST", "DOCKER_HOST"} {
		if os.Getenv(name) != "" {
			return name
		}
	}
	return ""
}

// ContextName is the context in use: --context, unless a host is named
// DOCKER_CONTEXT, or the one of `context use`.
func (a *App) ContextName() string {
	switch {
	case a.Global.Context != "":
		return a.Global.Context
	case a.Global.Host != "" || HostVariable() != "":
		return contextstore.Default
	}
	return cmp.Or(os.Getenv("DOCKER_CONTEXT"), a.Config().CurrentContext, contextstore.Default)
}

// useContext points the options of a connection to the daemon of the context in
// use. One that does not exist is an error: it must not silently become the
// local daemon.
func (a *App) useContext(o *connect.Options) error {
	if a.Global.Context != "" && a.Global.Host != "" {
		return errors.New("conflicting options: cannot specify both --host and --context")
	}
	name := a.ContextName()
	if name == contextstore.Default {
		return nil
	}
	c, err := a.Contexts().Get(name)
	if err != nil {
		return err
	}
	o.Host = c.Docker().Host
	files := a.Contexts().TLS(name)
	skip := c.Docker().SkipTLSVerify
	o.TLS = connect.TLS{
		Whole: true, Enable: skip || len(files) > 0, Verify: len(files) > 0 && !skip,
		CA: files["ca.pem"], Cert: files["cert.pem"], Key: files["key.pem"],
	}
	return nil
}
