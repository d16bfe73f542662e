// Package container holds the verbs on containers. One verb is one file; its
// constructor makes the cobra command, and a function below it does the work.
//
// Verbs that stay with a running process (run, attach, start -a, exec) share
// package follow: its streams, its exit code, signals and the terminal's size.
package container

import (
	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/container/cp"
	"github.com/sampan-containers/sampan/cli/container/logs"
	"github.com/sampan-containers/sampan/cli/container/nsenter"
	"github.com/sampan-containers/sampan/cli/container/recreate"
	"github.com/sampan-containers/sampan/cli/container/stats"
)

// Commands are the verbs of `container`, in the order of the help.
func Commands(a *app.App) []*cobra.Command {
	return []*cobra.Command{
		NewAttach(a), NewCommit(a), cp.New(a), NewCreate(a), NewDiff(a), NewExec(a), NewExport(a), NewInspect(a), NewKill(a), logs.New(a), NewLs(a),
		nsenter.New(a), recreate.New(a), NewPause(a), NewPort(a), NewPrune(a), NewRename(a), NewRestart(a), NewRm(a), NewRun(a), NewStart(a), stats.New(a), NewStop(a),
		NewTop(a), NewUnpause(a), NewUpdate(a), NewWait(a),
	}
}

// named sets the full names under which a verb can be called; the help lists
// them.
func named(cmd *cobra.Command, names string) *cobra.Command {
	cmd.Annotations = map[string]string{app.AliasesKey: names}
	return cmd
}
