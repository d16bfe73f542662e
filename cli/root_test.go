package cli

import (
	"bufio"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sampan-containers/sampan/cli/app"
)

func testRoot() *cobra.Command {
	return NewRoot(app.New(ownName, strings.NewReader(""), io.Discard, io.Discard), nil)
}

func BenchmarkNewRoot(b *testing.B) {
	for _, word := range []string{"ps", "run", "container", ""} {
		b.Run(word, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				NewRoot(app.New(ownName, strings.NewReader(""), io.Discard, io.Discard), []string{word})
			}
		})
	}
}

// compatRow is one line of testdata/cli.tsv: Docker's commands and flags.
type compatRow struct {
	command string
	aliases []string
	flags   []compatFlag
}

type compatFlag struct{ name, kind, shorthand string }

func compatRows(t *testing.T) []compatRow {
	f, err := os.Open("testdata/cli.tsv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var rows []compatRow
	for s := bufio.NewScanner(f); s.Scan(); {
		if strings.HasPrefix(s.Text(), "#") {
			continue
		}
		cols := strings.Split(s.Text(), "\t")
		row := compatRow{command: cols[0]}
		if cols[1] != "-" {
			row.aliases = strings.Split(cols[1], ", ")
		}
		if cols[2] != "-" {
			for _, flag := range strings.Split(cols[2], ",") {
				name, kind, _ := strings.Cut(strings.TrimPrefix(flag, "--"), ":")
				kind, short, _ := strings.Cut(strings.TrimSuffix(kind, ")"), "(-")
				row.flags = append(row.flags, compatFlag{name, kind, short})
			}
		}
		if cols[4] != "-" {
			for _, flag := range strings.Split(cols[4], ",") {
				name, _, _ := strings.Cut(strings.TrimPrefix(flag, "--"), "=")
				row.flags = append(row.flags, compatFlag{name: name})
			}
		}
		rows = append(rows, row)
	}
	if len(rows) < 100 {
		t.Fatalf("only %d commands in testdata/cli.tsv", len(rows))
	}
	return rows
}

// TestDockersCommands holds the tree against the list of Docker's commands and
// flags. Commands that do not exist yet must at least be known.
func TestDockersCommands(t *testing.T) {
	root := testRoot()
	var notYet []string
	for _, row := range compatRows(t) {
		names := append([]string{row.command}, row.aliases...)
		if row.command == "(root)" {
			names = []string{""}
		}
		for _, name := range names {
			t.Run(name, func(t *testing.T) {
				cmd, rest, err := root.Find(strings.Fields(name))
				if err != nil || len(rest) > 0 {
					t.Fatalf("unknown command %q", name)
				}
				if cmd.Hidden {
					notYet = append(notYet, name)
					return
				}
				for _, want := range row.flags {
					checkFlag(t, cmd, want)
				}
			})
		}
	}
	t.Logf("%d names of commands do not exist yet: %s", len(notYet), strings.Join(notYet, ", "))
}

func checkFlag(t *testing.T, cmd *cobra.Command, want compatFlag) {
	t.Helper()
	cmd.InitDefaultHelpFlag()
	f := cmd.Flags().Lookup(want.name)
	switch {
	case f == nil:
		t.Errorf("--%s is missing", want.name)
	case want.kind != "" && f.Value.Type() != want.kind:
		t.Errorf("--%s has type %s, want %s", want.name, f.Value.Type(), want.kind)
	case f.Shorthand != want.shorthand && !(want.name == "help" && f.Shorthand == "h"):
		t.Errorf("--%s has shorthand %q, want %q", want.name, f.Shorthand, want.shorthand)
	}
}

// ownFlags are what Docker's users wished for and Docker does not have; each is in
// docs/differences.md. Where Docker has the name elsewhere the command stands before it.
var ownFlags = map[string]bool{
	"env": true, "env-rm": true, "label": true, "label-rm": true, "volume": true, "volume-rm": true, // update: by a restart
	"health-action": true, // run, create: restart or stop an unhealthy container
	"grep":          true, // logs: lines that match, chosen by the daemon
	"dry-run":       true, // image prune, network prune: what would be removed
	"repair":        true, // system check: make images whole again
	"publish":       true, // update: as port add, of a running container
	"all":           true, // rm, stop, kill: every container
	"exited":        true, // rm: those that have ended
	// update, of a running container
	"update --device": true, "update --device-cgroup-rule": true, "update --ulimit": true,
	"volume create --name":      true, // Docker's own, hidden since 1.12
	"container update --device": true, "container update --device-cgroup-rule": true, "container update --ulimit": true,
}

// ownCommands do what no command of Docker's does; their flags are their own.
var ownCommands = map[string]bool{
	"system stop": true, "system check": true, "nsenter": true, "container nsenter": true, "recreate": true, "container recreate": true,
	"manifest referrers": true, "volume clone": true, "volume export": true, "volume import": true, "volume rename": true,
}

// TestNoFlagsOfOurOwn: any other flag that Docker does not have would be a dialect.
func TestNoFlagsOfOurOwn(t *testing.T) {
	root := testRoot()
	known := map[string]bool{"help": true, "version": true}
	for _, row := range compatRows(t) {
		for _, name := range append([]string{row.command}, row.aliases...) {
			for _, f := range row.flags {
				known[name+" --"+f.name] = true
			}
		}
	}
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		for _, sub := range cmd.Commands() {
			if sub.Hidden || sub.Name() == "help" || sub.Name() == "completion" {
				continue
			}
			path := strings.TrimPrefix(sub.CommandPath(), root.Name()+" ")
			sub.LocalFlags().VisitAll(func(f *pflag.Flag) {
				if f.Name != "help" && !ownFlags[f.Name] && !ownFlags[path+" --"+f.Name] && !ownCommands[path] && !known[path+" --"+f.Name] {
					t.Errorf("%s --%s is not a flag of Docker's", path, f.Name)
				}
			})
			walk(sub)
		}
	}
	walk(root)
}

// TestEveryCommandIsHelpful: each visible command has a help with its grammar.
func TestEveryCommandIsHelpful(t *testing.T) {
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.Hidden {
			return
		}
		t.Run(cmd.CommandPath(), func(t *testing.T) {
			args := append([]string{ownName}, strings.Fields(cmd.CommandPath())[1:]...)
			var out, errw strings.Builder
			if code := Main(append(args, "--help"), strings.NewReader(""), &out, &errw); code != 0 {
				t.Fatalf("exit code %d: %s", code, &errw)
			}
			if !strings.Contains(out.String(), "Usage:  "+cmd.CommandPath()) || !strings.Contains(out.String(), cmd.Short) {
				t.Errorf("help lacks the grammar or the purpose:\n%s", &out)
			}
			if cmd.HasAvailableLocalFlags() && strings.Contains(out.String(), "  \n") {
				t.Errorf("help has trailing spaces:\n%q", &out)
			}
		})
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(testRoot())
}
