// Package network holds the applets that use the network: clients and servers
// for looking around and for demonstrations, not for production.
package network

import "github.com/sampan-containers/sampan/box/tool"

// Tools returns the applets.
func Tools() []tool.Tool {
	return []tool.Tool{
		{Name: "httpd", Usage: "[-f] [-v] [-p [HOST:]PORT] [-h DIR]", Run: httpd},
		{Name: "ip", Usage: "[-4|-6] addr|link|route|neigh [show]", Run: ip},
		{Name: "nc", Usage: "[-lukvz] [-w SECONDS] [-p PORT] [-e COMMAND] [HOST] [PORT]", Run: nc},
		{Name: "nslookup", Usage: "NAME [SERVER]", Run: nslookup},
		{Name: "ping", Usage: "[-46q] [-c COUNT] [-i SECONDS] [-W SECONDS] [-s SIZE] HOST", Run: ping},
		{Name: "wget", Usage: "[-qSO-] [-O FILE] [-T SECONDS] [-t TRIES] [--header H] [--post-data D] [--no-check-certificate] URL...", Run: wget},
	}
}
