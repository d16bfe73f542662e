// Package handle is the daemon's side of the shims: it starts one per run of a
// container, finds running ones again after a restart of the daemon, and turns
// their protocol (shim/wire) into method calls.
//
// A Shim is safe for concurrent use. Every call honours its context, so that a
// shim that was stopped (SIGSTOP) or hangs holds up its own callers and nobody
// else. Done closes when the container's run is over and everything of it has
// been taken away by the shim, or when the shim itself is lost. Where the exit
// record need not be durable (--rm), the control groups go just afterwards.
package handle
