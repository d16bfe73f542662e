// Package parity runs Sampan and a real dockerd of Debian's docker.io side by
// side, gives both the same commands by the stock docker client and the same
// requests on the socket, and compares what they answer: every key, type and
// value of the JSON, the exit codes and the texts that scripts match on.
//
// What may differ is the table in exceptions_test.go, each row with its reason;
// a row that excuses nothing fails the test, and so does a dockerd that does
// not start. Both engines run in the lab, dockerd in network and mount
// namespaces of its own, with its roots on a fresh ext4.
package parity

import (
	"flag"
	"testing"

	"github.com/sampan-containers/sampan/test/lab"
)

func TestMain(m *testing.M) { lab.Main(m) }

func TestArchivesTravel(t *testing.T) { compareArchives(t, startPair(t)) }

// TestParity shares one pair of daemons among all groups of comparisons. Their
// order matters: later groups look at what earlier ones made.
func TestParity(t *testing.T) {
	p := startPair(t)
	for _, group := range []struct {
		name string
		run  func(*testing.T, *pair)
	}{
		{"system", compareSystem},
		{"images", compareImages},
		{"registry", compareRegistry},
		{"networks", compareNetworks},
		{"containers", compareContainers},
		{"user networks", compareUserNetworks},
		{"exec", compareExec},
		{"exit codes", compareExitCodes},
		{"wrong input", compareWrongInput},
		{"wrong requests", compareWrongRequests},
		{"life", compareLife},
		{"events", compareEvents},
		{"routes", compareRoutes},
		{"cases", compareCases},
	} {
		t.Run(group.name, func(t *testing.T) { group.run(t, p) })
	}
	if flag.Lookup("test.run").Value.String() == "" && !t.Failed() {
		p.reportUnused(t)
	}
}
