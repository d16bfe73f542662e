package credential

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
)

const (
	helperPrefix = "docker-credential-"
	// tokenUser is the user name of a login that is an identity token.
	tokenUser = "<token>"
)

// helperLogin is the JSON of the helpers' protocol.
type helperLogin struct {
	ServerURL, Username, Secret string
}

// call runs a helper; it reads its input from stdin and says on stdout what went
// wrong, too.
func call(ctx context.Context, helper, verb string, input []byte) ([]byte, error) {
	if strings.ContainsAny(helper, "/\\") {
		return nil, fmt.Errorf("credential helper %q: a name is wanted, not a path", helper)
	}
	cmd := exec.CommandContext(ctx, helperPrefix+helper, verb)
	cmd.Stdin = bytes.NewReader(input)
	out, err := cmd.Output()
	if err == nil {
		return out, nil
	}
	said := strings.TrimSpace(string(out))
	if said == errNotFound.Error() {
		return nil, errNotFound
	}
	if said == "" {
		said = err.Error()
	}
	return nil, fmt.Errorf("credential helper %s%s %s: %s", helperPrefix, helper, verb, said)
}

func get(ctx context.Context, helper, key string) (*Login, error) {
	out, err := call(ctx, helper, "get", []byte(key))
	if errors.Is(err, errNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var got helperLogin
	if err := json.Unmarshal(out, &got); err != nil {
		return nil, fmt.Errorf("credential helper %s%s get: its answer is not valid: %w", helperPrefix, helper, err)
	}
	login := &Login{ServerAddress: key, Username: got.Username, Password: got.Secret}
	if got.Username == tokenUser {
		login.Username, login.Password, login.IdentityToken = "", "", got.Secret
	}
	return login, nil
}

func store(ctx context.Context, helper, key string, l *Login) error {
	put := helperLogin{ServerURL: key, Username: l.Username, Secret: l.Password}
	if l.IdentityToken != "" {
		put.Username, put.Secret = tokenUser, l.IdentityToken
	}
	raw, err := json.Marshal(put)
	if err != nil {
		return err
	}
	_, err = call(ctx, helper, "store", raw)
	return err
}

func erase(ctx context.Context, helper, key string) error {
	_, err := call(ctx, helper, "erase", []byte(key))
	if errors.Is(err, errNotFound) {
		return nil
	}
	return err
}
