package container

import "github.com/sampan-containers/sampan/fault"

func invalid(format string, args ...any) error { return fault.New(fault.Invalid, format, args...) }
