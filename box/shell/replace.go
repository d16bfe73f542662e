package shell

import (
	"context"
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

const execWord = "exec"

// replace is `exec COMMAND`: the shell becomes the command, so that a
// container's first process is the program and gets its signals.
func (s *shell) replace(ctx context.Context, args []string) error {
	hc := interp.HandlerCtx(ctx)
	if hc.Env.Get(subshellVariable).String() != "" {
		return hc.Builtin(ctx, append([]string{execWord}, args...))
	}
	var std [3]*os.File
	for i, stream := range []any{hc.Stdin, hc.Stdout, hc.Stderr} {
		f, ok := stream.(*os.File)
		if !ok {
			return hc.Builtin(ctx, append([]string{execWord}, args...))
		}
		std[i] = f
	}
	path, err := find(hc, args[0])
	var status interp.ExitStatus
	if errors.As(err, &status) && !s.interactive {
		return hc.Builtin(ctx, []string{"exit", strconv.Itoa(int(status))})
	}
	if err != nil {
		return err
	}
	if err := os.Chdir(hc.Dir); err != nil {
		return complain(hc, statusNotRunnable, "exec: %v", err)
	}
	for i, f := range std {
		if fd := int(f.Fd()); fd != i {
			if err := unix.Dup3(fd, i, 0); err != nil {
				return complain(hc, statusNotRunnable, "exec: %v", err)
			}
		}
	}
	err = unix.Exec(path, args, environment(hc.Env))
	if err == unix.ENOEXEC && !isBinary(path) {
		err = unix.Exec(self, append([]string{"sh", path}, args[1:]...), environment(hc.Env))
	}
	_ = startError(hc, args[0], err) // said; a shell whose exec failed ends
	return hc.Builtin(ctx, []string{"exit", "126"})
}

// subshellVariable marks what runs beside the shell instead of in it.
const subshellVariable = "__sampan_subshell"

// markSubshells puts the mark into each construct that POSIX runs in a process
// of its own.
func markSubshells(node syntax.Node) {
	mark := func(stmts []*syntax.Stmt) []*syntax.Stmt {
		if a := assignment(subshellVariable, "1"); a != nil && containsExec(stmts) {
			return append([]*syntax.Stmt{a}, stmts...)
		}
		return stmts
	}
	syntax.Walk(node, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.Subshell:
			n.Stmts = mark(n.Stmts)
		case *syntax.CmdSubst:
			n.Stmts = mark(n.Stmts)
		case *syntax.ProcSubst:
			n.Stmts = mark(n.Stmts)
		case *syntax.BinaryCmd:
			if n.Op == syntax.Pipe || n.Op == syntax.PipeAll {
				for _, side := range []**syntax.Stmt{&n.X, &n.Y} {
					if stmts := mark([]*syntax.Stmt{*side}); len(stmts) > 1 {
						*side = &syntax.Stmt{Position: (*side).Position, Cmd: &syntax.Subshell{Stmts: stmts}}
					}
				}
			}
		}
		return true
	})
}

// containsExec spares everything else the mark.
func containsExec(stmts []*syntax.Stmt) bool {
	found := false
	for _, stmt := range stmts {
		syntax.Walk(stmt, func(n syntax.Node) bool {
			if call, ok := n.(*syntax.CallExpr); ok && len(call.Args) > 1 && call.Args[0].Lit() == execWord {
				found = true
			}
			return !found
		})
	}
	return found
}
