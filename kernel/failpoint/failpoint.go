// Package failpoint names the steps at which a crash is tried. A step is
// noun.verb.step ("image.load.record"); Hit says that it is reached. In an
// ordinary build Hit is empty and costs nothing. Built with the tag failpoints,
// the process kills itself (SIGKILL, no defer runs) at the step that the variable
// SAMPAN_FAILPOINT names, at its n-th pass for NAME:n.
//
// The names are literals, so that a test can list all of them from the sources
// and try each.
package failpoint

// Env is the variable that names the step to die at.
const Env = "SAMPAN_FAILPOINT"

// SeenEnv is the variable that names a file into which such a build writes each step
// that it passes, a line each.
const SeenEnv = "SAMPAN_FAILPOINTS_SEEN"
