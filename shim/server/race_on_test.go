//go:build race

package server

// underRace tells that the race detector's own memory hides the shim's.
const underRace = true
