// Package archive holds tar and the gzip family.
package archive

import "github.com/sampan-containers/sampan/box/tool"

// Tools returns the applets.
func Tools() []tool.Tool {
	return []tool.Tool{
		{Name: "gunzip", Usage: "[-ckf] [FILE...]", Run: gzipTool},
		{Name: "gzip", Usage: "[-cdkf123456789] [FILE...]", Run: gzipTool},
		{Name: "tar", Usage: "c|x|t[zvfpk] [-C DIR] [--strip-components=N] [--exclude=PATTERN] [FILE...]", Run: tarTool},
		{Name: "zcat", Usage: "[FILE...]", Run: gzipTool},
	}
}
