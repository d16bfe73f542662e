package container

import (
	"bytes"
	"context"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/sampan-containers/sampan/container/request"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/logs"
)

// stampLayout is RFC 3339 with nine digits, so that stamped lines line up.
const stampLayout = "2006-01-02T15:04:05.000000000Z07:00"

// TTY tells whether the container has a terminal (its log is not multiplexed then).
func (s *Service) TTY(ref string) (bool, error) {
	e, err := s.containers.Find(ref)
	if err != nil {
		return false, err
	}
	return e.Record().Config.Tty, nil
}

// Logs emits log entries; stream is "stdout" or "stderr". data is valid during
// the call only. With Follow it returns when the run has ended and everything
// of it was emitted.
func (s *Service) Logs(ctx context.Context, ref string, o LogsOptions, emit func(stream string, data []byte) error) error {
	e, err := s.containers.Find(ref)
	if err != nil {
		return err
	}
	var done <-chan struct{}
	if o.Follow {
		if r := e.Run(); r != nil {
			done = r.Settled
		} else {
			o.Follow = false
		}
	}
	return s.readLog(ctx, e.Record(), o, done, emit)
}

// keepLog has the old files of a running container's log compressed, if that is
// asked for; with scan those that are there already too.
func (s *Service) keepLog(r *Record, scan bool) {
	if request.Compresses(r.HostConfig.LogConfig) {
		s.compactor.Watch(s.paths.LogPath(r), scan)
	}
}

func (s *Service) readLog(ctx context.Context, rec *Record, o LogsOptions, done <-chan struct{}, emit func(string, []byte) error) error {
	if rec.HostConfig.LogConfig.Type == "none" {
		return fault.New(fault.NotImplemented, "configured logging driver does not support reading")
	}
	format := logs.JSON
	if rec.HostConfig.LogConfig.Type == request.LogLocal {
		format = logs.Local
	}
	log, err := logs.Open(s.paths.LogPath(rec), format)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	return log.Read(ctx, logs.ReadConfig{Since: o.Since, Until: o.Until, Tail: o.Tail, Follow: o.Follow, Done: done}, func(entry logs.Entry) error {
		if entry.Stream == "stdout" && !o.Stdout || entry.Stream == "stderr" && !o.Stderr {
			return nil
		}
		if o.Grep != nil && !o.Grep.Match(bytes.TrimRight(entry.Line, "\r\n")) {
			return nil
		}
		if !o.Timestamps && !o.Details {
			return emit(entry.Stream, entry.Line)
		}
		out.Reset()
		if o.Timestamps {
			out.WriteString(entry.Time.UTC().Format(stampLayout))
			out.WriteByte(' ')
		}
		if o.Details {
			out.WriteString(details(entry.Attrs))
			out.WriteByte(' ')
		}
		out.Write(entry.Line)
		return emit(entry.Stream, out.Bytes())
	})
}

// details writes attributes as Docker does: key=value, escaped, joined by commas.
func details(attrs map[string]string) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(attrs)) {
		parts = append(parts, url.QueryEscape(k)+"="+url.QueryEscape(attrs[k]))
	}
	return strings.Join(parts, ",")
}
