package spec

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/value"
)

// maxProfile bounds a seccomp profile; the default one has 15 KB.
const maxProfile = 4 << 20

// security: privileges and what confines them.
type security struct {
	privileged      bool
	capAdd, capDrop value.List
	options         value.List
	sysctls         value.Map
	apiSocket       bool
	trust           app.Trust
}

func newSecurity() *security { return &security{sysctls: value.NewMap(value.CheckSysctl)} }

func (s *security) register(fs *pflag.FlagSet) {
	fs.BoolVar(&s.privileged, "privileged", false, "Give all capabilities and devices, without confinement")
	fs.Var(&s.capAdd, "cap-add", "Add a Linux capability")
	fs.Var(&s.capDrop, "cap-drop", "Drop a Linux capability")
	fs.Var(&s.options, "security-opt", "Security option (no-new-privileges, seccomp=FILE, label=..., ...)")
	fs.Var(&s.sysctls, "sysctl", "Set a namespaced kernel parameter (KEY=VALUE)")
	fs.BoolVar(&s.apiSocket, "use-api-socket", false, "Give the container access to the daemon's API")
	s.trust.Register(fs)
}

func (s *security) apply(r *Request, _ func(string) bool) error {
	if s.apiSocket {
		return app.Refuse("use-api-socket", "mount the daemon's socket with -v if the container may control the host")
	}
	if err := s.trust.Check(); err != nil {
		return err
	}
	h := r.Host
	h.Privileged, h.CapAdd, h.CapDrop, h.Sysctls = s.privileged, s.capAdd.Values, s.capDrop.Values, s.sysctls.Values
	options, unmasked, err := securityOptions(s.options.Values)
	if err != nil {
		return err
	}
	h.SecurityOpt = options
	if unmasked {
		// Empty lists, unlike missing ones, replace the default.
		h.MaskedPaths, h.ReadonlyPaths = []string{}, []string{}
	}
	return nil
}

// securityOptions reads seccomp profiles and takes systempaths=unconfined out:
// the API says that with the two lists of paths.
func securityOptions(options []string) (kept []string, unmasked bool, err error) {
	for _, opt := range options {
		if opt == "systempaths=unconfined" {
			unmasked = true
			continue
		}
		key, val, ok := strings.Cut(opt, "=")
		if !ok && opt != "no-new-privileges" {
			// The form before the equals sign.
			if key, val, ok = strings.Cut(opt, ":"); !ok {
				return nil, false, fmt.Errorf("invalid --security-opt: %q", opt)
			}
		}
		if key == "seccomp" && val != "unconfined" && val != "builtin" {
			profile, err := readProfile(val)
			if err != nil {
				return nil, false, err
			}
			opt = "seccomp=" + profile
		}
		kept = append(kept, opt)
	}
	return kept, unmasked, nil
}

func readProfile(path string) (string, error) {
	st, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("opening seccomp profile (%s) failed: %w", path, err)
	}
	if !st.Mode().IsRegular() || st.Size() > maxProfile {
		return "", fmt.Errorf("seccomp profile %s is not a regular file of at most %d bytes", path, maxProfile)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("opening seccomp profile (%s) failed: %w", path, err)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, text); err != nil {
		return "", fmt.Errorf("compacting json for seccomp profile (%s) failed: %w", path, err)
	}
	return compact.String(), nil
}
