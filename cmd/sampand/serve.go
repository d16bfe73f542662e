package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/engine"
	"github.com/sampan-containers/sampan/version"
)

const (
	// apiGrace is how long requests under way may take to finish at the end.
	apiGrace = 5 * time.Second
	// letGo is how long the end may take when containers are left running.
	letGo = 10 * time.Second
	// heapGrowth is the share by which the heap may grow between collections. The
	// daemon idles most of its life: a small heap is worth more than the few
	// milliseconds of collection, as long as not every third start collects.
	heapGrowth = 100
	// oomAdjust keeps the kernel's OOM killer off the daemon where it may.
	oomAdjust = "-500"
)

// serve runs the daemon until a signal ends it.
func serve(cfg *config, args []string) error {
	lowest, err := cfg.level()
	if err != nil {
		return err
	}
	level := new(slog.LevelVar)
	level.Set(lowest)
	log := logger(cfg.logFormat, level)
	binary, err := os.Executable() // now: later its file may have been replaced
	if err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return errors.New("sampand needs root: it makes namespaces, mounts and network links (run it with sudo)")
	}
	// Files of ours that containers read must be readable, whatever the umask
	// was; the directories above keep everybody else out.
	unix.Umask(0o022)
	debug.SetGCPercent(heapGrowth)
	if err := os.WriteFile("/proc/self/oom_score_adj", []byte(oomAdjust), 0); err != nil {
		log.Debug("the daemon is not protected from the OOM killer", "error", err)
	}

	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGUSR2)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()

	d := &daemon{cfg: cfg, log: log, level: level, args: args, asked: make(chan struct{}, 1)}
	began := time.Now()
	e, err := engine.Start(ctx, log, d.steps())
	if err != nil {
		return err
	}
	total, running, _, _ := d.containers.Counts()
	log.Info("ready", "version", version.Version, "api", strings.Join(cfg.hosts, " "), "root", cfg.dataRoot,
		"containers", total, "running", running, "took", time.Since(began).Round(time.Millisecond))
	if err := engine.Notify("READY=1"); err != nil {
		log.Warn(err.Error())
	}
	debug.FreeOSMemory() // what only the start needed
	upgrade, cause := d.wait(signals)
	what := "STOPPING=1"
	if upgrade {
		what = "RELOADING=1"
	}
	if err := engine.Notify(what); err != nil {
		log.Warn(err.Error())
	}
	if err := errors.Join(cause, d.stop(e, signals)); err != nil || !upgrade {
		return err
	}
	return again(binary)
}

// again makes this process the program that lies in this one's place now: a service
// manager sees the same process, and the containers nothing at all.
func again(binary string) error {
	return fmt.Errorf("start %s again: %w", binary, syscall.Exec(binary, os.Args, os.Environ()))
}

// wait returns when the daemon is to end, with an error if a socket broke. upgrade tells
// that it is to come back as the program that is installed now.
func (d *daemon) wait(signals <-chan os.Signal) (upgrade bool, err error) {
	for {
		select {
		case sig := <-signals:
			if sig == syscall.SIGHUP {
				d.reload()
				continue
			}
			if sig == syscall.SIGUSR2 {
				d.cfg.liveRestore = true
				d.log.Info("starting again for an upgrade; containers stay")
				return true, nil
			}
			d.log.Info("ending", "signal", sig.String(), "containers stay", d.cfg.liveRestore)
			return false, nil
		case <-d.asked:
			d.log.Info("ending, since a client has stopped everything")
			d.byClient = true
			return false, nil
		case err := <-d.failed:
			return false, err
		}
	}
}

// stop ends the services. A second signal cuts waiting short, a third one ends
// the process at once.
func (d *daemon) stop(e *engine.Engine, signals <-chan os.Signal) error {
	limit := letGo
	if !d.cfg.liveRestore {
		limit = time.Duration(d.cfg.shutdownTimeout) * time.Second
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if limit >= 0 {
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	go func() {
		n := 0
		if d.byClient {
			n = -1 // the service manager's own signal follows: the same wish, not impatience
		}
		for {
			if sig := <-signals; sig == syscall.SIGHUP || sig == syscall.SIGUSR2 {
				continue
			}
			if n > 0 {
				os.Exit(1)
			}
			if n == 0 {
				cancel()
			}
			n++
		}
	}()
	return e.Stop(ctx)
}

func logger(format string, level slog.Leveler) *slog.Logger {
	o := &slog.HandlerOptions{Level: level}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, o))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, o))
}
