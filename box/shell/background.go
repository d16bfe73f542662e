package shell

import (
	"strconv"
	"strings"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"
)

// The interpreter runs `command &` in a goroutine and does not tell the exec
// handler so. These variables do: the first counts what was put in the
// background, as the interpreter does for $!, and the second is set only inside.
const (
	countVariable = "__sampan_jobs"
	jobVariable   = "__sampan_job"
)

// markBackground turns each `X &` into
//
//	{ count=$((count+1)); { job=$count; X; } & }
func markBackground(node syntax.Node) {
	syntax.Walk(node, func(n syntax.Node) bool {
		stmt, ok := n.(*syntax.Stmt)
		if !ok || !stmt.Background {
			return true
		}
		inner := *stmt
		inner.Background = false
		markBackground(&inner)
		count := assignment(countVariable, "$(("+countVariable+"+1))")
		job := assignment(jobVariable, "$"+countVariable)
		if count == nil || job == nil {
			return true
		}
		outer := &syntax.Stmt{Position: stmt.Position, Background: true, Cmd: &syntax.Block{Stmts: []*syntax.Stmt{job, &inner}}}
		*stmt = syntax.Stmt{Position: stmt.Position, Cmd: &syntax.Block{Stmts: []*syntax.Stmt{count, outer}}}
		return false
	})
}

// assignment parses name=value.
func assignment(name, value string) *syntax.Stmt {
	file, err := syntax.NewParser().Parse(strings.NewReader(name+"="+value), "")
	if err != nil || len(file.Stmts) != 1 {
		return nil
	}
	return file.Stmts[0]
}

// backgroundJob returns the number of the background command that the handler
// runs in, or 0.
func backgroundJob(env expand.Environ) int {
	n, err := strconv.Atoi(env.Get(jobVariable).String())
	if err != nil {
		return 0
	}
	return n
}
