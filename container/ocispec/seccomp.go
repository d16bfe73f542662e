package ocispec

import (
	"encoding/json"
	"errors"

	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-containers/sampan/fault"
)

// maxProfile bounds the JSON of a user's seccomp profile.
const maxProfile = 1 << 20

// SeccompUnconfined is the name of "no filter".
const SeccompUnconfined = "unconfined"

// seccompProfile chooses between none, the container's own, the daemon's and
// the built-in profile, and resolves it for the container's capabilities.
func seccompProfile(in *Input, sec Security, s *specs.Spec) (*specs.LinuxSeccomp, error) {
	if unfiltered(in, sec) {
		return nil, nil
	}
	profile := chosen(in, sec)
	switch profile {
	case SeccompUnconfined:
		return nil, nil
	case "":
		p, err := seccomp.GetDefaultProfile(s)
		if err != nil {
			return nil, fault.New(fault.Invalid, "default seccomp profile: %w", err)
		}
		return p, nil
	}
	if err := CheckSeccomp(profile); err != nil {
		return nil, err
	}
	p, err := seccomp.LoadProfile(profile, s)
	if err != nil {
		return nil, fault.New(fault.Invalid, "seccomp profile: %w", err)
	}
	return p, nil
}

// chosen is the profile's text, "unconfined", or "" for the built-in one.
func chosen(in *Input, sec Security) string {
	profile := sec.Seccomp
	if profile == "" {
		profile = in.Defaults.Seccomp
	}
	if profile == "builtin" {
		return ""
	}
	return profile
}

func isBuiltIn(in *Input, sec Security) bool {
	return !unfiltered(in, sec) && chosen(in, sec) == ""
}

// unfiltered tells whether a privileged container goes without a filter: one that it
// was given by name holds all the same.
func unfiltered(in *Input, sec Security) bool { return in.HostConfig.Privileged && sec.Seccomp == "" }

// CheckSeccomp refuses a profile that is not JSON of a sensible size.
func CheckSeccomp(profile string) error {
	if profile == "" || profile == SeccompUnconfined || profile == "builtin" {
		return nil
	}
	if len(profile) > maxProfile {
		return fault.New(fault.Invalid, "seccomp profile: %d bytes are more than the limit of %d", len(profile), maxProfile)
	}
	var p seccomp.Seccomp
	if err := json.Unmarshal([]byte(profile), &p); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return fault.New(fault.Invalid, "seccomp profile is not JSON: %v at byte %d (give the text of a profile, or unconfined)", err, syntax.Offset)
		}
		return fault.New(fault.Invalid, "seccomp profile: %v", err)
	}
	return nil
}
