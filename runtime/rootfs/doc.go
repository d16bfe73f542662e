// Package rootfs turns the file-system part of an OCI specification into launch
// steps: root, mounts, devices, terminal, masked and read-only paths.
//
// Two sides share the work. The parent opens what lies on the host: the root and
// the sources of bind mounts become detached mounts (Prepare). The child, which
// is in the container's namespaces and has nothing but the container's tree
// below its root, resolves targets, mounts file systems and attaches (Compile).
//
// Every path that an image, a volume or a specification names is resolved by
// openat2 with RESOLVE_IN_ROOT and RESOLVE_NO_MAGICLINKS, and what was resolved is
// used by descriptor. Sources of masks never come from the container.
//
// Limits: flags on bind mounts need Linux 5.12 (mount_setattr); the option
// tmpcopyup and remounts are refused.
package rootfs
