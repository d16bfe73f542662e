package container

import "github.com/sampan-containers/sampan/fault"

func invalid(format string, args ...any) error { return fault.New(fault.Invalid, format, args...) }

func notYet(format string, args ...any) error {
	return fault.New(fault.NotImplemented, format, args...)
}

func noSuchContainer(ref string) error {
	return fault.New(fault.NotFound, "No such container: %s", ref)
}

func nameInUse(name, owner string) error {
	return fault.New(fault.Conflict, `Conflict. The container name %q is already in use by container %q. You have to remove (or rename) that container to be able to reuse that name.`, "/"+name, owner)
}
