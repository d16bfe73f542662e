// Package network kills the daemon at every named step of what starts, ends, connects
// and disconnects containers and makes and removes networks and published ports, and
// holds what is there after the next start against what the daemon says
// (../../../docs/networking.md, the invariants I1-I8 of the fault matrix). It needs
// the build tag failpoints, root, and `make build`:
//
//	go test -tags failpoints ./test/failpoint/network
package network
