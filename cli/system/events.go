package system

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/moby/moby/api/types/events"
	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
	"github.com/sampan-containers/sampan/cli/format"
	"github.com/sampan-containers/sampan/cli/terminal"
	"github.com/sampan-containers/sampan/cli/value"
)

type eventsOptions struct {
	since, until, format string
	filters              value.Filters
}

// NewEvents makes `events`.
func NewEvents(a *app.App) *cobra.Command {
	var o eventsOptions
	cmd := named(&cobra.Command{
		Use:               "events [OPTIONS]",
		Short:             "Show what happens, as it happens",
		Args:              app.NoArgs,
		ValidArgsFunction: complete.None,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return follow(cmd.Context(), a, &o)
		},
	}, "system events, events")
	fs := cmd.Flags()
	fs.VarP(&o.filters, "filter", "f", "Show only what matches (NAME=VALUE)")
	fs.StringVar(&o.format, "format", "", "Print with a Go template, or 'json'")
	fs.StringVar(&o.since, "since", "", "Show events since this time")
	fs.StringVar(&o.until, "until", "", "Show events until this time, then end")
	return cmd
}

func follow(ctx context.Context, a *app.App, o *eventsOptions) error {
	var tmpl *template.Template
	if o.format != "" {
		var err error
		if tmpl, err = format.Parse(o.format); err != nil {
			return &app.UsageError{Err: err, Code: 64}
		}
	}
	conn, err := a.Connect()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream := conn.Events(ctx, client.EventsListOptions{Since: o.since, Until: o.until, Filters: o.filters.Values})
	for {
		select {
		case e := <-stream.Messages:
			if err := printEvent(a, tmpl, &e); err != nil {
				return err
			}
		case err := <-stream.Err:
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}

func printEvent(a *app.App, tmpl *template.Template, e *events.Message) error {
	if a.Out.IsTerminal() {
		terminal.CleanDeep(e)
	}
	if tmpl != nil {
		var line bytes.Buffer
		if err := tmpl.Execute(&line, newView(e)); err != nil {
			return fmt.Errorf("template parsing error: %w", err)
		}
		line.WriteByte('\n')
		_, err := line.WriteTo(a.Out)
		return err
	}
	_, err := io.WriteString(a.Out, eventLine(e)+"\n")
	return err
}

// view is an event for templates. The first three fields are from the time
// before there were events of other things than containers; Docker's own
// examples have them.
type view struct {
	Status string `json:"status,omitempty"`
	ID     string `json:"id,omitempty"`
	From   string `json:"from,omitempty"`
	*events.Message
}

func newView(e *events.Message) *view {
	switch e.Type {
	case events.ContainerEventType:
		return &view{string(e.Action), e.Actor.ID, e.Actor.Attributes["image"], e}
	case events.ImageEventType:
		return &view{Status: string(e.Action), ID: e.Actor.ID, Message: e}
	}
	return &view{Message: e}
}

// eventTime is RFC 3339 with all nine digits, so that columns stay aligned.
const eventTime = "2006-01-02T15:04:05.000000000Z07:00"

func eventLine(e *events.Message) string {
	at := time.Unix(e.Time, 0)
	if e.TimeNano != 0 {
		at = time.Unix(0, e.TimeNano)
	}
	line := fmt.Sprintf("%s %s %s %s", at.Format(eventTime), e.Type, e.Action, e.Actor.ID)
	if len(e.Actor.Attributes) == 0 {
		return line
	}
	var attrs []string
	for _, key := range slices.Sorted(maps.Keys(e.Actor.Attributes)) {
		attrs = append(attrs, key+"="+e.Actor.Attributes[key])
	}
	return line + " (" + strings.Join(attrs, ", ") + ")"
}
