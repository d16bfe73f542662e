// Package files holds the applets that list, make, move and remove files.
package files

import "github.com/sampan-containers/sampan/box/tool"

// Tools returns the applets.
func Tools() []tool.Tool {
	return []tool.Tool{
		{Name: "basename", Usage: "PATH [SUFFIX]", Run: basename},
		{Name: "cat", Usage: "[-n] [FILE...]", Run: cat},
		{Name: "chmod", Usage: "[-R] MODE FILE...", Run: chmod},
		{Name: "chown", Usage: "[-Rh] OWNER[:GROUP] FILE...", Run: chown},
		{Name: "cp", Usage: "[-aRpfn] SOURCE... TARGET", Run: cp},
		{Name: "dd", Usage: "[if=FILE] [of=FILE] [bs=N] [count=N] [skip=N] [seek=N] [conv=notrunc,fsync] [status=none]", Run: dd},
		{Name: "df", Usage: "[-hki] [PATH...]", Run: df},
		{Name: "dirname", Usage: "PATH...", Run: dirname},
		{Name: "du", Usage: "[-shkac] [PATH...]", Run: du},
		{Name: "find", Usage: "[PATH...] [-name P] [-iname P] [-path P] [-type T] [-size N] [-mtime N] [-newer F] [-maxdepth N] [-mindepth N] [-empty] [-user U] [-perm M] [!] [-o] [-print|-print0|-delete|-exec CMD {} ;|+]", Run: find},
		{Name: "ln", Usage: "[-sfn] TARGET... LINK", Run: ln},
		{Name: "ls", Usage: "[-aAl1dFhinRrStu] [PATH...]", Run: ls},
		{Name: "mkdir", Usage: "[-pv] [-m MODE] DIR...", Run: mkdir},
		{Name: "mkfifo", Usage: "[-m MODE] NAME...", Run: mkfifo},
		{Name: "mktemp", Usage: "[-d] [-p DIR] [TEMPLATE]", Run: mktemp},
		{Name: "mv", Usage: "[-fnv] SOURCE... TARGET", Run: mv},
		{Name: "pwd", Usage: "", Run: pwd},
		{Name: "readlink", Usage: "[-fn] PATH...", Run: readlink},
		{Name: "realpath", Usage: "PATH...", Run: realpath},
		{Name: "rm", Usage: "[-rfiv] PATH...", Run: rm},
		{Name: "rmdir", Usage: "[-p] DIR...", Run: rmdir},
		{Name: "stat", Usage: "[-L] [-c FORMAT] FILE...", Run: stat},
		{Name: "sync", Usage: "", Run: syncAll},
		{Name: "touch", Usage: "[-c] [-d TIME] [-r FILE] FILE...", Run: touch},
		{Name: "truncate", Usage: "-s SIZE FILE...", Run: truncate},
	}
}
