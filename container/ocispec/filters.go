package ocispec

import (
	"runtime"
	"strings"
	"sync"

	mobyseccomp "github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/runtime/seccomp"
)

// maxFilters bounds the filters that are kept; a container asks for one of few
// sets of capabilities.
const maxFilters = 64

// Filters are the built-in profile's compiled filters, which depend on the
// container's capabilities only. A shim that gets one need not read the profile, two
// thirds of a specification, and compile it. The zero value is ready.
type Filters struct {
	mu sync.Mutex
	of map[string]*seccomp.Filter
}

// builtIn returns the filter for the capabilities of s, or nil where none can be
// compiled: the specification says why then.
func (f *Filters) builtIn(s *specs.Spec) (*seccomp.Filter, error) {
	if s.Process == nil || s.Process.Capabilities == nil {
		return nil, nil
	}
	key := strings.Join(s.Process.Capabilities.Bounding, " ")
	f.mu.Lock()
	defer f.mu.Unlock()
	if known := f.of[key]; known != nil {
		return known, nil
	}
	profile, err := mobyseccomp.GetDefaultProfile(s)
	if err != nil {
		return nil, fault.New(fault.Invalid, "default seccomp profile: %w", err)
	}
	filter, err := seccomp.NewFilter(profile, runtime.GOARCH)
	if err != nil {
		return nil, nil
	}
	if f.of == nil || len(f.of) >= maxFilters {
		f.of = map[string]*seccomp.Filter{}
	}
	f.of[key] = filter
	return filter, nil
}
