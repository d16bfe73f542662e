// Package systemd lets systemd make the control groups of containers: each is a
// transient scope, whose subtree is delegated to the container (Delegate=yes).
//
// Create asks for the scope and applies the limits twice: as properties of the unit,
// so that systemd does not put back its own values when it reads its units again, and
// to the files, which is exact and reaches what has no property. Update does the same
// for a running container; Stop ends a unit whose group is gone.
//
// A scope cannot be empty, and a container's first process does not exist yet when its
// group is made. So a process that only waits holds the scope until the container is
// in it: Scope.Release.
//
// D-Bus is spoken by hand: a few method calls and one signal need none of what a
// library brings, and this is linked into every container's shim. Root talks to
// systemd's own socket, else to the message bus of the system; others to the manager of
// their session. Rights are systemd's to check (polkit, for others than root).
//
// Limits: one connection for each operation; systemd 244 or later (cpusets by property).
package systemd
