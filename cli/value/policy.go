package value

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/container"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// RestartPolicy parses --restart NAME[:COUNT].
func RestartPolicy(v string) (container.RestartPolicy, error) {
	if v == "" {
		return container.RestartPolicy{}, nil
	}
	name, count, ok := strings.Cut(v, ":")
	p := container.RestartPolicy{Name: container.RestartPolicyMode(name)}
	if ok && name == "" {
		return p, errors.New("invalid restart policy format: no policy provided before colon")
	}
	if count != "" {
		n, err := strconv.Atoi(count)
		if err != nil {
			return p, errors.New("invalid restart policy format: maximum retry count must be an integer")
		}
		p.MaximumRetryCount = n
	}
	return p, nil
}

// CheckAttach is the check of -a.
func CheckAttach(v string) (string, error) {
	s := strings.ToLower(v)
	switch s {
	case "stdin", "stdout", "stderr":
		return s, nil
	}
	return "", errors.New("valid streams are STDIN, STDOUT and STDERR")
}

// DefaultPlatform is what --platform of the commands that get images stands for
// when it is not given.
func DefaultPlatform() string { return os.Getenv("DOCKER_DEFAULT_PLATFORM") }

// Platform parses OS[/ARCH[/VARIANT]].
func Platform(v string) (*ocispec.Platform, error) {
	if v == "" {
		return nil, nil
	}
	parts := strings.Split(v, "/")
	if len(parts) > 3 {
		return nil, fmt.Errorf("invalid platform %q: use OS[/ARCH[/VARIANT]], as in linux/amd64", v)
	}
	for _, part := range parts {
		if part == "" || strings.ContainsFunc(part, func(r rune) bool {
			return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-' || r == '.')
		}) {
			return nil, fmt.Errorf("invalid platform %q: use OS[/ARCH[/VARIANT]], as in linux/amd64", v)
		}
	}
	parts = append(parts, "", "")
	return normalPlatform(strings.ToLower(parts[0]), strings.ToLower(parts[1]), strings.ToLower(parts[2])), nil
}

// normalPlatform knows the usual other names of architectures, and that one
// word alone may be either.
func normalPlatform(system, arch, variant string) *ocispec.Platform {
	if arch == "" {
		switch system {
		case "linux", "windows", "freebsd", "darwin":
			arch = runtime.GOARCH
		default:
			system, arch = "linux", system
		}
	}
	switch arch {
	case "x86_64", "x86-64":
		arch = "amd64"
	case "aarch64":
		arch = "arm64"
	case "i386", "i686":
		arch = "386"
	case "armhf":
		arch, variant = "arm", "v7"
	case "armel":
		arch, variant = "arm", "v6"
	}
	switch {
	case arch == "arm64" && variant == "8":
		variant = "v8"
	case arch == "arm" && variant != "" && !strings.HasPrefix(variant, "v"):
		variant = "v" + variant
	case arch == "amd64" && variant == "v1":
		variant = ""
	}
	return &ocispec.Platform{OS: system, Architecture: arch, Variant: variant}
}
