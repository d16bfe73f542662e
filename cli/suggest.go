package cli

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// maxDistance is how many slips of the finger a suggestion may need.
const maxDistance = 2

// similarCommand finds the visible command below cmd that name may mean.
func similarCommand(cmd *cobra.Command, name string) string {
	best := closest{word: name}
	for _, sub := range cmd.Commands() {
		if !sub.Hidden {
			best.try(sub.Name())
		}
	}
	return best.found
}

// similarFlag finds the flag that name may mean; a value after "=" is not part
// of the name.
func similarFlag(cmd *cobra.Command, name string) string {
	name, _, _ = strings.Cut(name, "=")
	best := closest{word: name}
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			best.try(f.Name)
		}
	})
	return best.found
}

type closest struct {
	word, found string
	distance    int
}

func (c *closest) try(candidate string) {
	d := distance(c.word, candidate)
	// Most letters have to be right, or "x" would be a slip of "rm".
	if d > maxDistance || d*2 >= max(len(c.word), len(candidate)) {
		return
	}
	if c.found == "" || d < c.distance {
		c.found, c.distance = candidate, d
	}
}

// distance counts the insertions, deletions, replacements and swaps of
// neighbours that turn a into b (Damerau, optimal string alignment).
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
