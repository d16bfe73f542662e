// Package stats is the verb `stats`: one table of what containers use, once or as
// it changes. A stream follows each container by a request of its own, and the
// events tell which containers come and go.
package stats

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/api/types/events"
	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
	"github.com/sampan-containers/sampan/cli/connect"
	"github.com/sampan-containers/sampan/cli/format"
)

const (
	// redrawEvery is the pace at which a stream of stats is shown.
	redrawEvery = 500 * time.Millisecond
	// together is how many containers are asked at once for a single result:
	// each answer takes the time between two samples.
	together = 512
)

type options struct {
	all, noStream, noTrunc bool
	format                 string
}

// New makes `stats`.
func New(a *app.App) *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Annotations:       map[string]string{app.AliasesKey: "container stats, stats"},
		Use:               "stats [OPTIONS] [CONTAINER...]",
		Short:             "Show what containers use, as it changes",
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: complete.Containers(a, complete.Running),
		RunE: func(cmd *cobra.Command, args []string) error {
			return show(cmd.Context(), a, &o, args)
		},
	}
	fs := cmd.Flags()
	fs.BoolVarP(&o.all, "all", "a", false, "Show all containers, not only those that run")
	fs.StringVar(&o.format, "format", "", app.FormatHelp)
	fs.BoolVar(&o.noStream, "no-stream", false, "Show one result and end")
	fs.BoolVar(&o.noTrunc, "no-trunc", false, "Do not cut long values")
	return cmd
}

func show(ctx context.Context, a *app.App, o *options, names []string) error {
	conn, err := a.Connect()
	if err != nil {
		return err
	}
	if o.format == "" {
		o.format = a.Config().StatsFormat
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	b := &board{app: a, conn: conn, o: o}
	everything := len(names) == 0
	var changes <-chan events.Message
	var broken <-chan error
	if everything {
		if !o.noStream {
			// Before the list: what starts in between is not missed.
			s := conn.Events(ctx, client.EventsListOptions{Filters: make(client.Filters).Add("type", string(events.ContainerEventType))})
			changes, broken = s.Messages, s.Err
		}
		list, err := conn.ContainerList(ctx, client.ContainerListOptions{All: o.all, Brief: true})
		if err != nil {
			return err
		}
		for i := range list.Items {
			names = append(names, list.Items[i].ID)
		}
	}
	if o.noStream {
		return b.once(ctx, names, everything)
	}
	for _, name := range names {
		b.add(ctx, name)
	}
	if err := b.wait(ctx, everything); err != nil {
		return err
	}
	tick := time.NewTicker(redrawEvery)
	defer tick.Stop()
	for {
		if err := b.draw(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case m := <-changes:
			b.change(ctx, m)
		case err := <-broken:
			if errors.Is(err, io.EOF) || ctx.Err() != nil {
				return nil
			}
			return err
		}
		if !everything && b.over() {
			return b.draw()
		}
	}
}

// board is the table that is shown.
type board struct {
	app  *app.App
	conn *connect.Conn
	o    *options

	mu   sync.Mutex
	rows []*row
}

// once shows one result of each container, in the order of the names.
func (b *board) once(ctx context.Context, names []string, everything bool) error {
	rows := make([]*row, len(names))
	for i, name := range names {
		rows[i] = &row{name: name, full: b.o.noTrunc}
	}
	index := map[string]*row{}
	for _, r := range rows {
		index[r.name] = r
	}
	var batch app.Batch
	app.EachOf(together, names, func(name string) error {
		got, err := b.conn.ContainerStats(ctx, name, client.ContainerStatsOptions{IncludePreviousSample: true})
		if err != nil {
			return err
		}
		defer got.Body.Close()
		var s sample
		if err := json.NewDecoder(got.Body).Decode(&s); err != nil {
			return err
		}
		index[name].set(&s)
		return nil
	}, func(name string, err error) {
		if err == nil {
			b.rows = append(b.rows, index[name])
		} else if !everything { // one that has gone since the list was made is no error
			batch.Add(b.app, err)
		}
	})
	if len(b.rows) > 0 || everything {
		if err := b.draw(); err != nil {
			return err
		}
	}
	return batch.Err()
}

// add follows one more container.
func (b *board) add(ctx context.Context, name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.rows {
		if r.is(name) {
			return
		}
	}
	r := &row{name: name, full: b.o.noTrunc, ready: make(chan struct{})}
	ctx, r.stop = context.WithCancel(ctx)
	b.rows = append(b.rows, r)
	go func() {
		defer b.app.Term.OnPanic()
		r.follow(ctx, b.conn)
	}()
}

func (b *board) drop(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rows = slices.DeleteFunc(b.rows, func(r *row) bool {
		gone := r.is(id)
		if gone {
			r.stop()
		}
		return gone
	})
}

// change follows what starts and ends.
func (b *board) change(ctx context.Context, m events.Message) {
	switch m.Action {
	case events.ActionCreate:
		if b.o.all {
			b.add(ctx, m.Actor.ID)
		}
	case events.ActionStart:
		b.add(ctx, m.Actor.ID)
	case events.ActionDie:
		if !b.o.all {
			b.drop(m.Actor.ID)
		}
	case events.ActionDestroy:
		b.drop(m.Actor.ID)
	}
}

// wait returns when every container has a first result. A container that was
// named and cannot be followed is an error.
func (b *board) wait(ctx context.Context, everything bool) error {
	b.mu.Lock()
	rows := slices.Clone(b.rows)
	b.mu.Unlock()
	var failed []string
	for _, r := range rows {
		select {
		case <-r.ready:
		case <-ctx.Done():
			return nil
		}
		if err := r.failure(); err != nil && !everything && !errors.Is(err, io.EOF) {
			failed = append(failed, app.Message(err))
		}
	}
	if len(failed) > 0 {
		return errors.New(strings.Join(failed, "\n"))
	}
	return nil
}

// over tells whether no container that was named is left.
func (b *board) over() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !slices.ContainsFunc(b.rows, func(r *row) bool { return r.failure() == nil })
}

func (b *board) draw() error {
	b.mu.Lock()
	rows := make([]format.Row, len(b.rows))
	for i, r := range b.rows {
		rows[i] = r.snapshot()
	}
	b.mu.Unlock()
	var text strings.Builder
	if !b.o.noStream && b.app.Out.IsTerminal() {
		text.WriteString("\x1b[H\x1b[2J")
	}
	if err := table.Write(&text, b.o.format, false, rows); err != nil {
		return err
	}
	_, err := io.WriteString(b.app.Out, text.String())
	return err
}
