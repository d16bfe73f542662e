package app

import (
	"fmt"
	"os"
	"strconv"

	"github.com/spf13/pflag"
)

// trustVariable asks for content trust in Docker's commands that move images.
const trustVariable = "DOCKER_CONTENT_TRUST"

// Trust is the flag --disable-content-trust, which takes its default from the
// environment as in Docker. Sampan has no content trust (Notary 1): whoever asks
// for verified images must not get others in silence.
type Trust struct{ disabled bool }

// Register adds the flag, which no help shows.
func (t *Trust) Register(fs *pflag.FlagSet) {
	fs.BoolVar(&t.disabled, "disable-content-trust", !wantsTrust(os.Getenv(trustVariable)), "Skip image verification")
	// Registered just above, so the call cannot fail.
	_ = fs.MarkHidden("disable-content-trust")
}

// wantsTrust is Docker's reading: what is not false or empty is true.
func wantsTrust(value string) bool {
	b, err := strconv.ParseBool(value)
	return value != "" && (b || err != nil)
}

// Check refuses a command that asks for content trust.
func (t *Trust) Check() error {
	if t.disabled {
		return nil
	}
	return fmt.Errorf("content trust (%s, --disable-content-trust=false) is %w: images are verified by digest only; name the image by digest, and unset %s or add --disable-content-trust", trustVariable, ErrUnsupported, trustVariable)
}
