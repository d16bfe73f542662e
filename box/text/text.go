// Package text holds the applets that filter and print text.
package text

import "github.com/sampan-containers/sampan/box/tool"

// Tools returns the applets.
func Tools() []tool.Tool {
	return []tool.Tool{
		{Name: "base64", Usage: "[-d] [-w COLS] [FILE]", Run: base64Tool},
		{Name: "cmp", Usage: "[-s] FILE1 FILE2", Run: compareFiles},
		{Name: "cut", Usage: "-f LIST|-c LIST|-b LIST [-d D] [-s] [FILE...]", Run: cut},
		{Name: "echo", Usage: "[-ne] [TEXT...]", Run: echo},
		{Name: "egrep", Usage: "[-ivncloqwxHhrsm] PATTERN [FILE...]", Run: grep},
		{Name: "fgrep", Usage: "[-ivncloqwxHhrsm] PATTERN [FILE...]", Run: grep},
		{Name: "grep", Usage: "[-EFivncloqwxHhrsABCm] [-e PATTERN] PATTERN [FILE...]", Run: grep},
		{Name: "head", Usage: "[-n LINES] [-c BYTES] [FILE...]", Run: head},
		{Name: "hexdump", Usage: "[-C] [FILE...]", Run: hexdump},
		{Name: "md5sum", Usage: "[-c] [FILE...]", Run: sum},
		{Name: "nl", Usage: "[FILE...]", Run: nl},
		{Name: "printf", Usage: "FORMAT [ARG...]", Run: printfTool},
		{Name: "rev", Usage: "[FILE...]", Run: rev},
		{Name: "sed", Usage: "[-nEi] [-e SCRIPT] SCRIPT [FILE...]", Run: sed},
		{Name: "seq", Usage: "[-w] [-s SEP] [FIRST [STEP]] LAST", Run: seq},
		{Name: "sha1sum", Usage: "[-c] [FILE...]", Run: sum},
		{Name: "sha256sum", Usage: "[-c] [FILE...]", Run: sum},
		{Name: "sha512sum", Usage: "[-c] [FILE...]", Run: sum},
		{Name: "sort", Usage: "[-bfhnrRsu] [-k KEY] [-t SEP] [-o FILE] [FILE...]", Run: sortTool},
		{Name: "tac", Usage: "[FILE...]", Run: tac},
		{Name: "tail", Usage: "[-f] [-n [+]LINES] [-c [+]BYTES] [FILE...]", Run: tail},
		{Name: "tee", Usage: "[-a] [FILE...]", Run: tee},
		{Name: "tr", Usage: "[-cds] SET1 [SET2]", Run: tr},
		{Name: "uniq", Usage: "[-cdui] [INPUT]", Run: uniq},
		{Name: "wc", Usage: "[-lwcmL] [FILE...]", Run: wc},
		{Name: "yes", Usage: "[TEXT...]", Run: yes},
	}
}
