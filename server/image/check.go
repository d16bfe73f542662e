package image

import (
	"context"
	"net/http"

	"github.com/sampan-containers/sampan/image"
	"github.com/sampan-containers/sampan/image/integrity"
	"github.com/sampan-containers/sampan/registry/auth"
	"github.com/sampan-containers/sampan/server"
)

// loginsHeader carries logins by registry, as Docker's builds do.
const loginsHeader = "X-Registry-Config"

// checked is the answer of a check; Failed says why something was not repaired.
type checked struct {
	*integrity.Report
	Failed string `json:",omitempty"`
}

// check verifies all blobs and layers, and repairs with repair=1. It is no route of
// Docker's.
func (r routes) check(c *server.Call) error {
	logins, err := auth.ParseConfig(c.Header.Get(loginsHeader))
	if err != nil {
		return err
	}
	report, err := r.integrity.Check(c.Context())
	if err != nil {
		return err
	}
	out := checked{Report: report}
	if c.Bool("repair") {
		fetch := func(ctx context.Context, d image.Damage) error { return r.transfers.Refetch(ctx, d, logins) }
		if err := r.integrity.Repair(c.Context(), report, fetch); err != nil {
			out.Failed = err.Error()
		}
	}
	return c.JSON(http.StatusOK, out)
}
