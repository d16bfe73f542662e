package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sampan-containers/sampan/cli/app"
)

// sectionKey is the annotation that puts a command into a section.
const sectionKey = "section"

const (
	defaultWidth = 80
	maxHelpWidth = 120
)

// printHelp writes the help of any command. It is plain code and no template:
// cobra's would have to be parsed first.
func printHelp(w io.Writer, a *app.App, cmd *cobra.Command) {
	width := defaultWidth
	if _, columns := a.Out.Size(); columns > 0 {
		width = int(min(columns, maxHelpWidth))
	}
	if cmd.HasParent() {
		fmt.Fprintf(w, "Usage:  %s\n\n%s\n", app.UseLine(cmd), cmd.Short)
	} else {
		fmt.Fprintf(w, "Usage:  %s\n\n%s\n", strings.TrimSuffix(app.UseLine(cmd), " [ARG...]"), cmd.Short)
	}
	if names := aliases(cmd); names != "" {
		fmt.Fprintf(w, "\nAliases:\n  %s\n", names)
	}
	printCommands(w, cmd)
	if flags := flagUsages(cmd, width); flags != "" {
		title := "Options"
		if !cmd.HasParent() {
			title = "Global Options"
		}
		fmt.Fprintf(w, "\n%s:\n%s\n", title, flags)
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(w, "\nRun '%s COMMAND --help' for more information on a command.\n", cmd.CommandPath())
	}
}

// aliases are all names under which the command can be called.
func aliases(cmd *cobra.Command) string {
	names, ok := cmd.Annotations[app.AliasesKey]
	if !ok || !strings.Contains(names, ",") {
		return ""
	}
	list := strings.Split(names, ", ")
	for i, n := range list {
		list[i] = cmd.Root().Name() + " " + n
	}
	return strings.Join(list, ", ")
}

func printCommands(w io.Writer, cmd *cobra.Command) {
	widest := 0
	sections := map[string][]*cobra.Command{}
	for _, sub := range cmd.Commands() {
		if sub.Hidden || sub.Name() == "help" {
			continue
		}
		section := sub.Annotations[sectionKey]
		if section == "" {
			section = sectionOther
		}
		sections[section] = append(sections[section], sub)
		widest = max(widest, len(sub.Name()))
	}
	for _, s := range []struct{ key, title string }{
		{sectionCommon, "Common Commands"}, {sectionManagement, "Management Commands"}, {sectionOther, "Commands"},
	} {
		if len(sections[s.key]) == 0 {
			continue
		}
		// The common ones are in the order of use, the rest can be looked up.
		if s.key != sectionCommon {
			slices.SortFunc(sections[s.key], func(a, b *cobra.Command) int { return strings.Compare(a.Name(), b.Name()) })
		}
		fmt.Fprintf(w, "\n%s:\n", s.title)
		for _, sub := range sections[s.key] {
			fmt.Fprintf(w, "  %-*s  %s\n", widest+1, sub.Name(), sub.Short)
		}
	}
}

// flagUsages lists the flags in two columns, the right one wrapped.
func flagUsages(cmd *cobra.Command, width int) string {
	var left, right []string
	widest := 0
	cmd.NonInheritedFlags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Deprecated != "" || f.Name == "help" {
			return
		}
		kind, usage := pflag.UnquoteUsage(f)
		text := "      --" + f.Name
		if f.Shorthand != "" {
			text = "  -" + f.Shorthand + ", --" + f.Name
		}
		if kind != "" && f.Value.Type() != "bool" {
			text += " " + kind
		}
		left, right = append(left, text), append(right, usage+shownDefault(f))
		widest = max(widest, len(text))
	})
	var b strings.Builder
	for i := range left {
		for j, piece := range wrap(right[i], max(width-widest-3, minUsageWidth)) {
			start := ""
			if j == 0 {
				start = left[i]
			}
			fmt.Fprintf(&b, "%-*s   %s\n", widest, start, piece)
		}
	}
	return strings.TrimRight(b.String(), "\n")
}

// minUsageWidth keeps the right column readable on narrow terminals.
const minUsageWidth = 24

// shownDefault leaves out the defaults that say nothing.
func shownDefault(f *pflag.Flag) string {
	switch f.DefValue {
	case "", "0", "0s", "false", "[]", "<nil>":
		return ""
	}
	if f.Value.Type() == "string" {
		return fmt.Sprintf(" (default %q)", f.DefValue)
	}
	return fmt.Sprintf(" (default %s)", f.DefValue)
}

func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		switch {
		case line == "":
			line = word
		case len(line)+1+len(word) > width:
			lines = append(lines, line)
			line = word
		default:
			line += " " + word
		}
	}
	return append(lines, line)
}
