// Package server is the supervisor of one run of a container, the process
// `sampan-runtime shim`. It starts the container in process, owns its standard
// streams or terminal, its log, its further processes (exec), its published
// ports' sockets and its exit record, and takes cgroup, namespaces and sockets
// away at the end. It does not need the daemon: that may die and come back.
//
// One goroutine runs one epoll loop over every descriptor; what may block (the
// start of an exec, the removal of the cgroup) runs beside it and posts its
// result. Nothing here uses reflection, package net or a logger, because the
// memory of one shim is counted in kilobytes.
//
// Order at the end: the process is reaped, its output is drained into log and
// clients, the exit record is on disk, cgroup and namespaces and sockets are
// gone, the daemons are told, the shim exits.
//
// What a container can influence is bounded: output is read into one buffer, a
// client that stops reading is first spilled to disk and then cut off, an
// unread input is not read further.
package server
