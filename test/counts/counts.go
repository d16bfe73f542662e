// Package counts is the one table of how often loops and races run in tests.
// `make test` runs about a twentieth, `make test-soak` the whole.
package counts

import (
	"fmt"
	"os"
)

// Env is the variable that selects the full counts when it is "full".
const Env = "SAMPAN_COUNTS"

const share = 20

// table holds the full counts, by the name of the loop.
var table = map[string]int{
	"attack.race":         500, // tries of each race in SECURITY.md's list [R]
	"daemon.kill.writing": 200, // kill -9 of the daemon while containers write
	"daemon.kill.writers": 100, // containers that write meanwhile
	"life.many":           500, // containers that are listed, measured and found again
	"life.polls":          900, // rounds of polling them, ten minutes and more
	"daemon.kill.life":    100, // kill -9 of the daemon while policies, checks and --rm act
	"run.remove":          1000,
	"network.join":        1000,
	"network.kill":        100, // kill -9 of the daemon while four clients change networks
	"dns.queries":         60000,
	"dns.packets":         10000,
	"dns.kill":            40,
	"exec.repeat":         1000,
	"attach.cut":          1000,
	"inroot.swap":         20000,
	"failpoint.round":     6,   // rounds of some 80 kills at the steps of the image store
	"failpoint.daemon":    4,   // the same with sampand and the client's commands
	"power.cut":           40,  // snapshots of a disk while images come and go
	"image.storm":         100, // rounds of loads, saves, removals and prunes at once
	"pull.storm":          100, // rounds of four pulls, two removals and a prune at once
	"requests.hostile":    100_000,
	"start.parallel":      200,
	"oci.lifecycle":       1000, // create, start, kill, delete on the runtime's command line
	"oci.run":             1000, // eight at once
	"oci.create.kill":     200,  // kill -9 of create at a random moment, in each of four forms
	"oci.locks":           100,  // starts that race
}

// Of returns the count of a loop for this run; at least 1. An unknown name is
// a mistake in the test and panics.
func Of(name string) int {
	full, ok := table[name]
	if !ok {
		panic(fmt.Sprintf("counts: no loop %q in the table", name))
	}
	if os.Getenv(Env) == "full" {
		return full
	}
	return max(1, full/share)
}
