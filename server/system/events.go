package system

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"mime"
	"strings"
	"time"

	"github.com/moby/moby/api/types/events"
	"github.com/sampan-containers/sampan/event"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/server"
	"github.com/sampan-containers/sampan/server/compat"
)

// recordSeparator precedes each message of application/json-seq (RFC 7464).
const recordSeparator = 0x1e

var (
	negotiatedSince = server.V(1, 52)
	jsonLinesSince  = server.V(1, 53)
)

// stream answers with the remembered events since a moment and then the new
// ones, until a moment or until the client leaves.
func (r *routes) stream(c *server.Call) error {
	since, err := c.Time("since")
	if err != nil {
		return err
	}
	until, err := c.Time("until")
	if err != nil {
		return err
	}
	if !until.IsZero() && until.Before(since) {
		return fault.New(fault.Invalid, "`since` time (%s) cannot be after `until` time (%s)", c.Query("since"), c.Query("until"))
	}
	filters, err := c.Filters(eventFilters...)
	if err != nil {
		return err
	}
	mediaType := negotiate(c)
	ctx, cancel := c.Stream()
	defer cancel()
	if !until.IsZero() {
		var stop context.CancelFunc
		ctx, stop = context.WithDeadline(ctx, until)
		defer stop()
	}
	var past []events.Message
	var sub *event.Subscription
	if onlyPast := !until.IsZero() && !until.After(time.Now()); onlyPast {
		past = r.events.Past(since, until, filters)
	} else {
		sub = r.events.Subscribe(since, until, filters)
		defer sub.Close()
	}
	out := c.StreamWriter(mediaType)
	defer out.Close()
	out.Start()
	w := eventWriter{out, c.Version, mediaType == "application/json-seq"}
	for i := range past {
		if err := w.write(&past[i]); err != nil {
			return nil // the client left
		}
	}
	if sub == nil {
		return nil
	}
	for {
		m, err := sub.Next(ctx)
		if errors.Is(err, event.ErrSlow) {
			return err // breaks the connection off, so that the gap is seen
		}
		if err != nil || w.write(&m) != nil {
			return nil
		}
	}
}

// eventFilters are the terms of the filters parameter.
var eventFilters = []string{
	"type", "event", "container", "image", "label", "network", "volume", "daemon", "scope",
	"plugin", "node", "service", "secret", "config",
}

type eventWriter struct {
	out     *server.StreamWriter
	version server.Version
	records bool
}

func (w eventWriter) write(m *events.Message) error {
	answer := compat.Event(w.version, m)
	if answer == nil {
		return nil
	}
	var line bytes.Buffer
	if w.records {
		line.WriteByte(recordSeparator)
	}
	if err := json.NewEncoder(&line).Encode(answer); err != nil {
		return err
	}
	_, err := w.out.Write(line.Bytes())
	return err
}

// negotiate picks the stream's media type from the Accept header. Older
// clients get application/json, whatever it holds.
func negotiate(c *server.Call) string {
	if c.Version < negotiatedSince {
		return "application/json"
	}
	for _, accepted := range c.Header.Values("Accept") {
		for _, one := range strings.Split(accepted, ",") {
			media, _, err := mime.ParseMediaType(one)
			if err != nil {
				continue
			}
			switch media {
			case "application/json-seq", "application/x-ndjson", "application/json":
				return media
			case "application/jsonl":
				if c.Version >= jsonLinesSince {
					return media
				}
			}
		}
	}
	return "application/json"
}
