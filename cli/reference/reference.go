// Package reference writes docs/commands: a page for each command, made from the
// command itself, so that it cannot say anything else than --help.
//
//go:generate go run ./gen ../../docs/commands
package reference

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sampan-containers/sampan/cli/app"
)

const index = "README.md"

// Pages returns the pages by their file names.
func Pages(root *cobra.Command) map[string]string {
	pages := map[string]string{}
	var list []string
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		for _, sub := range cmd.Commands() {
			if sub.Hidden || sub.Name() == "help" || sub.Name() == "completion" {
				continue
			}
			walk(sub)
			path := strings.TrimPrefix(sub.CommandPath(), root.Name()+" ")
			// A verb that stands under its noun and alone has one page.
			if sub.HasSubCommands() || names(sub)[0] != path {
				continue
			}
			file := strings.ReplaceAll(path, " ", "_") + ".md"
			pages[file] = page(root.Name(), path, sub)
			list = append(list, fmt.Sprintf("| [%s %s](%s) | %s |", root.Name(), path, file, sub.Short))
		}
	}
	walk(root)
	slices.Sort(list)
	pages[index] = fmt.Sprintf("# Commands of %s\n\nMade by `go generate ./cli/reference` from the commands themselves.\n\n| command | does |\n|---|---|\n%s\n\n## Flags before any command\n\n%s",
		root.Name(), strings.Join(list, "\n"), flags(root.PersistentFlags()))
	return pages
}

// names are all full names of a command, the one under its noun first.
func names(cmd *cobra.Command) []string {
	if all := cmd.Annotations[app.AliasesKey]; all != "" {
		return strings.Split(all, ", ")
	}
	return []string{strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()+" ")}
}

func page(program, path string, cmd *cobra.Command) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s %s\n\n%s.\n\n```\n%s\n```\n", program, path, strings.TrimSuffix(cmd.Short, "."), app.UseLine(cmd))
	if cmd.Long != "" && cmd.Long != cmd.Short {
		fmt.Fprintf(&b, "\n%s\n", strings.TrimSpace(cmd.Long))
	}
	if all := names(cmd); len(all) > 1 {
		for i, n := range all {
			all[i] = "`" + program + " " + n + "`"
		}
		fmt.Fprintf(&b, "\nNames: %s\n", strings.Join(all, ", "))
	}
	if text := flags(cmd.NonInheritedFlags()); text != "" {
		fmt.Fprintf(&b, "\n%s", text)
	}
	return b.String()
}

// flags is a table, or "" where there are none.
func flags(set *pflag.FlagSet) string {
	var rows []string
	set.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Deprecated != "" || f.Name == "help" {
			return
		}
		kind, usage := pflag.UnquoteUsage(f)
		name := "`--" + f.Name
		if kind != "" && f.Value.Type() != "bool" {
			name += " " + kind
		}
		name += "`"
		if f.Shorthand != "" {
			name = "`-" + f.Shorthand + "`, " + name
		}
		standard := ""
		switch f.DefValue {
		case "", "false", "0", "[]", "map[]", "0s", "<nil>":
		default:
			standard = "`" + f.DefValue + "`"
		}
		rows = append(rows, fmt.Sprintf("| %s | %s | %s |", name, strings.ReplaceAll(usage, "|", `\|`), standard))
	})
	if len(rows) == 0 {
		return ""
	}
	return "| flag | does | default |\n|---|---|---|\n" + strings.Join(rows, "\n") + "\n"
}

// Write replaces the pages of a directory.
func Write(dir string, root *cobra.Command) error {
	old, err := filepath.Glob(filepath.Join(dir, "*.md"))
	if err != nil {
		return err
	}
	for _, f := range old {
		if err := os.Remove(f); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, text := range Pages(root) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}
