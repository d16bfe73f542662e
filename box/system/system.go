// Package system holds the applets about processes, users, mounts, time and
// the machine.
package system

import "github.com/sampan-containers/sampan/box/tool"

// Tools returns the applets.
func Tools() []tool.Tool {
	return []tool.Tool{
		{Name: "[", Usage: "EXPRESSION ]", Run: test},
		{Name: "chroot", Usage: "DIR [COMMAND [ARG...]]", Run: chroot},
		{Name: "clear", Usage: "", Run: clearScreen},
		{Name: "date", Usage: "[-u] [-d TIME] [-r FILE] [-I] [+FORMAT]", Run: date},
		{Name: "env", Usage: "[-i] [-u NAME] [NAME=VALUE...] [COMMAND [ARG...]]", Run: env},
		{Name: "false", Usage: "", Run: func(*tool.Call) int { return tool.Failed }},
		{Name: "free", Usage: "[-bkmgh]", Run: free},
		{Name: "hello", Usage: "", Run: hello},
		{Name: "hostname", Usage: "[NAME]", Run: hostname},
		{Name: "id", Usage: "[-ugGn] [USER]", Run: id},
		{Name: "kill", Usage: "[-SIGNAL] PID...", Run: kill},
		{Name: "mknod", Usage: "[-m MODE] NAME b|c|p [MAJOR MINOR]", Run: mknod},
		{Name: "mount", Usage: "[-t TYPE] [-o OPTIONS] [SOURCE TARGET]", Run: mount},
		{Name: "nohup", Usage: "COMMAND [ARG...]", Run: nohup},
		{Name: "nproc", Usage: "", Run: nproc},
		{Name: "pidof", Usage: "NAME...", Run: pidof},
		{Name: "printenv", Usage: "[NAME...]", Run: printenv},
		{Name: "ps", Usage: "[-ef|aux] [-o COLUMNS]", Run: ps},
		{Name: "sleep", Usage: "TIME[smhd]...", Run: sleep},
		{Name: "test", Usage: "EXPRESSION", Run: test},
		{Name: "time", Usage: "COMMAND [ARG...]", Run: timeCommand},
		{Name: "timeout", Usage: "[-s SIGNAL] [-k TIME] TIME COMMAND [ARG...]", Run: timeout},
		{Name: "top", Usage: "[-b] [-n COUNT] [-d SECONDS]", Run: top},
		{Name: "true", Usage: "", Run: func(*tool.Call) int { return tool.OK }},
		{Name: "tty", Usage: "", Run: tty},
		{Name: "umount", Usage: "[-lf] TARGET...", Run: umount},
		{Name: "uname", Usage: "[-amnrsv]", Run: uname},
		{Name: "uptime", Usage: "", Run: uptime},
		{Name: "watch", Usage: "[-n SECONDS] COMMAND [ARG...]", Run: watch},
		{Name: "which", Usage: "[-a] NAME...", Run: which},
		{Name: "whoami", Usage: "", Run: whoami},
		{Name: "xargs", Usage: "[-0rt] [-n N] [-I STR] [-P N] [COMMAND [ARG...]]", Run: xargs},
	}
}
