package image

import (
	"regexp"
	"runtime"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-containers/sampan/fault"
)

var platformPart = regexp.MustCompile(`^[A-Za-z0-9_-]{1,32}$`)

// parsePlatform reads os[/arch[/variant]], or an architecture alone. Missing
// parts are this machine's.
func parsePlatform(text string) (ocispec.Platform, error) {
	p := ocispec.Platform{OS: runtime.GOOS, Architecture: runtime.GOARCH}
	if text == "" {
		return p, nil
	}
	parts := strings.Split(strings.ToLower(text), "/")
	if len(parts) > 3 {
		return p, fault.New(fault.Invalid, "platform %q is not os[/arch[/variant]], such as linux/arm64/v8", text)
	}
	for _, part := range parts {
		if !platformPart.MatchString(part) {
			return p, fault.New(fault.Invalid, "platform %q is not os[/arch[/variant]], such as linux/arm64/v8", text)
		}
	}
	if len(parts) == 1 && parts[0] != "linux" && architecture(parts[0]) != "" {
		parts = []string{"linux", parts[0]}
	}
	if parts[0] != "linux" {
		return p, fault.New(fault.Invalid, "operating system %q is not supported: Sampan runs images for linux", parts[0])
	}
	if len(parts) > 1 {
		p.Architecture = parts[1]
		if known := architecture(parts[1]); known != "" {
			p.Architecture = known
		}
	}
	if len(parts) > 2 {
		p.Variant = parts[2]
	}
	return p, nil
}

// architecture turns the names that uname and others use into Go's; "" means
// unknown.
func architecture(name string) string {
	switch name {
	case "x86_64", "x86-64", "amd64":
		return "amd64"
	case "aarch64", "arm64":
		return "arm64"
	case "armhf", "armel", "arm":
		return "arm"
	case "i386", "386":
		return "386"
	case "ppc64le", "s390x", "riscv64", "mips64le", "loong64":
		return name
	}
	return ""
}
