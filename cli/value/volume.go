package value

import (
	"fmt"
	"path/filepath"
	"strings"
)

// Volumes splits the values of -v into binds, which keep their order, and
// anonymous volumes.
func Volumes(specs []string) (binds []string, anonymous map[string]struct{}, err error) {
	anonymous = map[string]struct{}{}
	seen := map[string]bool{}
	for _, spec := range specs {
		if seen[spec] {
			continue
		}
		seen[spec] = true
		source, rest, err := splitVolume(spec)
		if err != nil {
			return nil, nil, err
		}
		if source == "" {
			anonymous[rest] = struct{}{}
			continue
		}
		if strings.HasPrefix(source, ".") {
			if abs, err := filepath.Abs(source); err == nil {
				source = abs
			}
		}
		binds = append(binds, source+":"+rest)
	}
	return binds, anonymous, nil
}

// splitVolume checks the shape of TARGET, SOURCE:TARGET or
// SOURCE:TARGET:OPTIONS.
func splitVolume(spec string) (source, rest string, err error) {
	if spec == "" {
		return "", "", fmt.Errorf("invalid empty volume spec")
	}
	parts := strings.Split(spec, ":")
	for _, part := range parts {
		if part == "" {
			return "", "", fmt.Errorf("invalid spec: %s: empty section between colons", spec)
		}
	}
	switch len(parts) {
	case 1:
		return "", spec, nil
	case 2, 3:
		return parts[0], strings.Join(parts[1:], ":"), nil
	}
	return "", "", fmt.Errorf("invalid spec: %s: too many colons", spec)
}

// Tmpfs splits --tmpfs PATH[:OPTIONS].
func Tmpfs(specs []string) map[string]string {
	m := map[string]string{}
	for _, spec := range specs {
		path, options, _ := strings.Cut(spec, ":")
		m[path] = options
	}
	return m
}
