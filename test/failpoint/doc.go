// Package failpoint kills a process at every named step of what changes the image
// store, and looks at what is left. The steps are found in the sources, so a new
// one cannot go untried. It needs the build tag failpoints:
//
//	go test -tags failpoints ./test/failpoint
package failpoint
