package image

import (
	"encoding/base64"
	"encoding/json"
	"strings"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
)

// hubKey is how Docker's own registry is filed in the configuration.
const hubKey = "https://index.docker.io/v1/"

// credentials is the login stored for the registry of ref, in the form of the
// X-Registry-Auth header. Nothing stored means an anonymous request.
func credentials(c *app.Config, ref string) string {
	host := client.ParseReference(ref).Domain
	keys := []string{host, "https://" + host, "http://" + host}
	if host == "docker.io" {
		keys = []string{hubKey, "docker.io"}
	}
	for _, key := range keys {
		stored, ok := c.Auths[key]
		if !ok {
			continue
		}
		auth := map[string]string{"serveraddress": key}
		if plain, err := base64.StdEncoding.DecodeString(stored.Auth); err == nil {
			if user, password, ok := strings.Cut(string(plain), ":"); ok {
				auth["username"], auth["password"] = user, strings.Trim(password, "\x00")
			}
		}
		if stored.IdentityToken != "" {
			auth["identitytoken"] = stored.IdentityToken
		}
		if stored.RegistryToken != "" {
			auth["registrytoken"] = stored.RegistryToken
		}
		text, err := json.Marshal(auth)
		if err != nil {
			return ""
		}
		return base64.URLEncoding.EncodeToString(text)
	}
	return ""
}
