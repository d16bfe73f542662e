package container

import (
	"encoding/json"

	"github.com/sampan-containers/sampan/container"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/server"
)

// stats answers with one sample, or with one a second until the client leaves.
func (r routes) stats(c *server.Call) error {
	o := container.StatsOptions{Stream: true}
	if c.Query("stream") != "" {
		o.Stream = c.Bool("stream")
	}
	if c.Version >= v1_41 {
		o.OneShot = c.Bool("one-shot")
	}
	if o.Stream && o.OneShot {
		// One sample is what one-shot asks for; stream is on by default only.
		if c.Query("stream") != "" {
			return fault.New(fault.Invalid, "cannot have stream=true and one-shot=true")
		}
		o.Stream = false
	}
	ctx, cancel := c.Stream()
	defer cancel()
	out := c.StreamWriter("application/json")
	defer out.Close()
	enc := json.NewEncoder(out)
	err := r.containers.Stats(ctx, c.Name, o, func(s *container.StatsSample) error {
		if c.Version < v1_52 {
			s.OSType = ""
		}
		return enc.Encode(s)
	})
	if err != nil && ctx.Err() == nil && !out.Started() {
		return err
	}
	return nil // the client left, or the stream ends early, which it sees
}
