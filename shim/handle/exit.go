package handle

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/shim/wire"
)

// maxExitRecord bounds the file: it is written by our shim, yet lies on a disk
// that may have been damaged.
const maxExitRecord = 64 << 10

// ReadExit reads the exit record of a run. A missing file is fault.NotFound.
func ReadExit(path string) (wire.ExitRecord, error) {
	f, err := os.Open(path)
	if os.IsNotExist(err) {
		return wire.ExitRecord{}, fault.New(fault.NotFound, "exit record %s: %w", path, err)
	}
	if err != nil {
		return wire.ExitRecord{}, fmt.Errorf("exit record: %w", err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxExitRecord))
	if err != nil {
		return wire.ExitRecord{}, fmt.Errorf("exit record %s: %w", path, err)
	}
	var r struct {
		Code   int       `json:"code"`
		Signal int       `json:"signal"`
		OOM    bool      `json:"oom"`
		At     time.Time `json:"at"`
		Error  string    `json:"error"`
	}
	if err := json.Unmarshal(raw, &r); err != nil {
		return wire.ExitRecord{}, fmt.Errorf("exit record %s: %w", path, err)
	}
	return wire.ExitRecord{Code: r.Code, Signal: r.Signal, OOM: r.OOM, At: r.At, Error: r.Error}, nil
}
