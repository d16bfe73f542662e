package spec

import (
	"github.com/spf13/pflag"

	"github.com/sampan-containers/sampan/cli/value"
)

// process: what runs, as whom, where and with which environment.
type process struct {
	user, workdir, entrypoint string
	env, envFiles, groups     value.List
	init                      bool
	ulimits                   value.Ulimits
	oomScoreAdj               int
}

func (p *process) register(fs *pflag.FlagSet) {
	p.env = value.NewList(value.CheckEnv)
	fs.StringVarP(&p.user, "user", "u", "", "User name or id, and group (NAME|UID[:GROUP|GID])")
	fs.StringVarP(&p.workdir, "workdir", "w", "", "Working directory inside the container")
	fs.StringVar(&p.entrypoint, "entrypoint", "", "Replace the image's entry point")
	fs.VarP(&p.env, "env", "e", "Set an environment variable (NAME[=VALUE])")
	fs.Var(&p.envFiles, "env-file", "Read environment variables from a file")
	fs.Var(&p.groups, "group-add", "Add a supplementary group")
	fs.BoolVar(&p.init, "init", false, "Run an init in the container that forwards signals and reaps processes")
	fs.Var(&p.ulimits, "ulimit", "Set a resource limit (NAME=SOFT[:HARD])")
	fs.IntVar(&p.oomScoreAdj, "oom-score-adj", 0, "Adjust the preference of the OOM killer (-1000 to 1000)")
}

func (p *process) apply(r *Request, set func(string) bool) (err error) {
	c, h := r.Config, r.Host
	c.User, c.WorkingDir = p.user, p.workdir
	if p.entrypoint != "" {
		c.Entrypoint = []string{p.entrypoint}
	} else if set("entrypoint") {
		// An empty value means none at all, also not the image's.
		c.Entrypoint = []string{""}
	}
	h.GroupAdd, h.Ulimits, h.OomScoreAdj = p.groups.Values, p.ulimits.Values, p.oomScoreAdj
	if set("init") {
		h.Init = &p.init
	}
	c.Env, err = value.Env(p.envFiles.Values, p.env.Values)
	return err
}
