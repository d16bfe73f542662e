package image

import (
	"context"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/credential"
)

// credentials is the login stored for the registry of ref, in the form of the
// X-Registry-Auth header. Nothing stored means an anonymous request.
func credentials(ctx context.Context, a *app.App, ref string) (string, error) {
	login, err := credential.Get(ctx, a, client.ParseReference(ref).Domain)
	return login.Header(), err
}
