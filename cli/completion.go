package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

// bashFallback stands in for the one function that cobra's script takes from
// the bash-completion package, which small systems do not have. The words come
// from the line itself: bash has split them at ":" and "=", but image:tag and
// --flag=value are one word.
const bashFallback = `if ! declare -F _get_comp_words_by_ref >/dev/null; then
    _get_comp_words_by_ref() {
        local line=${COMP_LINE:0:COMP_POINT}
        read -ra words <<<"$line"
        [[ $line == *[[:space:]] ]] && words+=("")
        cword=$((${#words[@]} - 1))
        cur=${words[cword]}
        prev=${words[cword - 1]}
    }
fi
`

// addCompletion adds cobra's completion command, with the fallback for bash.
func addCompletion(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	bash, _, err := root.Find([]string{"completion", "bash"})
	if err != nil || bash.RunE == nil {
		// Cobra always makes it; without it there is nothing to mend.
		return
	}
	script := bash.RunE
	bash.RunE = func(cmd *cobra.Command, args []string) error {
		fmt.Fprint(cmd.Root().OutOrStdout(), bashFallback)
		return script(cmd, args)
	}
}
