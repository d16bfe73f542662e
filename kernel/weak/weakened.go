//go:build weakened

package weak

import "os"

// Env names the variable that holds the name of the defence.
const Env = "SAMPAN_WEAKEN"

// Off reports whether a defence is switched off.
func Off(defence string) bool { return os.Getenv(Env) == defence }
