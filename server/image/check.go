package image

import (
	"net/http"

	"github.com/sampan-containers/sampan/image"
	"github.com/sampan-containers/sampan/server"
)

// checked is the answer of a check; Failed says why something was not repaired.
type checked struct {
	*image.CheckReport
	Failed string `json:",omitempty"`
}

// check verifies all blobs and layers, and repairs with repair=1. It is no route of
// Docker's.
func (r routes) check(c *server.Call) error {
	report, err := r.images.Check(c.Context())
	if err != nil {
		return err
	}
	out := checked{CheckReport: report}
	if c.Bool("repair") {
		if err := r.images.Repair(c.Context(), report); err != nil {
			out.Failed = err.Error()
		}
	}
	return c.JSON(http.StatusOK, out)
}
