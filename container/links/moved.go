package links

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sampan-containers/sampan/container/index"
	"github.com/sampan-containers/sampan/container/layout"
	"github.com/sampan-containers/sampan/container/record"
)

// maxHosts bounds a hosts file, which its container may write.
const maxHosts = 1 << 20

// Moved tells the containers that link to one, and run, the address of its new run.
// Nobody who links to a container that did not run before can run.
func Moved(x *index.Index, before, to *record.Record, paths *layout.Paths, log *slog.Logger) {
	if before.State.StartedAt.IsZero() {
		return
	}
	for _, e := range x.All() {
		rec := e.Record()
		if len(rec.HostConfig.Links) == 0 || !rec.State.Running() {
			continue
		}
		for _, l := range of(x, rec) {
			if l.to.ID == to.ID {
				l.to = to
				if err := l.write(filepath.Join(paths.DataDir(rec.ID), "hosts")); err != nil {
					log.Warn("a linked container has a new address", "container", rec.ID, "linked", to.ID, "error", err)
				}
			}
		}
	}
}

// write puts the linked container's address into a hosts file. The file is mounted in
// the container: it must stay the same one.
func (l *link) write(path string) error {
	address := l.address()
	if address == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("tell a linked container's address: %w", err)
	}
	defer f.Close()
	old, err := io.ReadAll(io.LimitReader(f, maxHosts))
	if err != nil {
		return fmt.Errorf("tell a linked container's address: %w", err)
	}
	text := l.rewrite(string(old), address)
	if text == string(old) || len(old) == maxHosts {
		return nil
	}
	if _, err = f.WriteAt([]byte(text), 0); err == nil {
		err = f.Truncate(int64(len(text)))
	}
	if err != nil {
		return fmt.Errorf("tell a linked container's address: %w", err)
	}
	return nil
}

// rewrite changes the address of the lines that have one of the link's names alone.
func (l *link) rewrite(text, address string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if fields := strings.Fields(line); len(fields) == 2 && fields[1] != "localhost" && slices.Contains(l.names(), fields[1]) {
			line = address + "\t" + fields[1] + "\n"
		}
		b.WriteString(line)
	}
	return b.String()
}
