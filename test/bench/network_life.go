package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// measureNetRun is a run on a network of the user's, then many in a row until
// nothing of them is left.
func measureNetRun(ctx context.Context, ours, peer *engine) ([]netLine, error) {
	engines := []*engine{ours, peer}
	run := command("run", "--rm", "--network", userNetwork, image, "true")
	one, err := pairedMedians(netPairs, engines, func(e *engine) ([]float64, error) {
		d, err := timedMS(func() error { return run(e) })
		return []float64{d}, errors.Join(err, e.waitGone(ctx))
	})
	if err != nil {
		return nil, err
	}
	row, err := inARowOf(ctx, engines, run)
	if err != nil {
		return nil, err
	}
	return []netLine{
		{what: "`run --rm --network NET IMAGE true`", unit: "ms", ours: one[ours][0], peers: one[peer][0], ratio: 20},
		{what: fmt.Sprintf("the same, %d in a row until all is gone, each", netInARow), unit: "ms", ours: row[ours], peers: row[peer], ratio: 20},
	}, nil
}

// inARowOf is the time of each of many commands in a row, until nothing of them
// exists.
func inARowOf(ctx context.Context, engines []*engine, run func(*engine) error) (map[*engine]float64, error) {
	each := map[*engine]float64{}
	for _, e := range engines {
		d, err := timedMS(func() error {
			for range netInARow {
				if err := run(e); err != nil {
					return err
				}
			}
			return e.waitGone(ctx)
		})
		if err != nil {
			return nil, err
		}
		each[e] = d / netInARow
	}
	return each, nil
}

// measureNetFleet starts and removes twenty containers at once.
func measureNetFleet(ctx context.Context, ours, peer *engine) ([]netLine, error) {
	m, err := pairedMedians(netFleets, []*engine{ours, peer}, func(e *engine) ([]float64, error) {
		start, err := timedMS(func() error { return startAtOnce(e, fleet, "--network", userNetwork) })
		if err != nil {
			return nil, err
		}
		began := time.Now()
		if err := removeFleet(e); err != nil {
			return nil, err
		}
		removed := inMS(time.Since(began))
		err = e.waitGone(ctx)
		return []float64{start, removed, inMS(time.Since(began))}, err
	})
	if err != nil {
		return nil, err
	}
	return []netLine{
		{what: fmt.Sprintf("`run -d --network NET`, %d at once", fleet), unit: "ms", ours: m[ours][0], peers: m[peer][0], ratio: 15},
		{what: fmt.Sprintf("`rm -f` of %d on NET", fleet), unit: "ms", ours: m[ours][1], peers: m[peer][1], ratio: 15},
		{what: "the same until all is gone", unit: "ms", ours: m[ours][2], peers: m[peer][2], ratio: 15},
	}, nil
}

// startAtOnce starts containers b0, b1, … at the same time.
func startAtOnce(e *engine, n int, flags ...string) error {
	var wait sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		wait.Go(func() {
			argv := append([]string{"run", "-d", "--name", fmt.Sprintf("b%d", i)}, flags...)
			_, errs[i] = e.do(append(argv, image, "sleep", "3600")...)
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}

// measureNetCreate makes and removes a network; the second figure of a round
// counts until its bridge is gone, the last many in a row.
func measureNetCreate(ctx context.Context, ours, peer *engine) ([]netLine, error) {
	engines := []*engine{ours, peer}
	createAndRemove := func(e *engine) error {
		if _, err := e.do("network", "create", "made"); err != nil {
			return err
		}
		_, err := e.do("network", "rm", "made")
		return err
	}
	before := map[*engine]int{}
	for _, e := range engines {
		before[e] = e.count("bridge")
	}
	bridgeGone := func(e *engine) error { return e.waitCount(ctx, "bridge", before[e]) }
	m, err := pairedMedians(netPairs, engines, func(e *engine) ([]float64, error) {
		began := time.Now()
		if err := createAndRemove(e); err != nil {
			return nil, err
		}
		answered := inMS(time.Since(began))
		err := bridgeGone(e)
		return []float64{answered, inMS(time.Since(began))}, err
	})
	if err != nil {
		return nil, err
	}
	row := map[*engine]float64{}
	for _, e := range engines {
		d, err := timedMS(func() error {
			for range netInARow {
				if err := createAndRemove(e); err != nil {
					return err
				}
			}
			return bridgeGone(e)
		})
		if err != nil {
			return nil, err
		}
		row[e] = d / netInARow
	}
	together, err := networksTogether(engines, bridgeGone)
	if err != nil {
		return nil, err
	}
	return []netLine{
		{what: "`network create` + `network rm`", unit: "ms", ours: m[ours][0], peers: m[peer][0], ratio: 10},
		{what: "the same until the bridge is gone", unit: "ms", ours: m[ours][1], peers: m[peer][1]},
		{what: fmt.Sprintf("%d in a row until all bridges are gone, each", netInARow), unit: "ms", ours: row[ours], peers: row[peer], ratio: 10},
		{what: fmt.Sprintf("%d networks made, then removed by one command, until all bridges are gone, each", fleet), unit: "ms", ours: together[ours], peers: together[peer]},
	}, nil
}

// networksTogether makes many networks before it removes the first: no engine can
// give the bridge of one to the next.
func networksTogether(engines []*engine, gone func(*engine) error) (map[*engine]float64, error) {
	each := map[*engine]float64{}
	for _, e := range engines {
		d, err := timedMS(func() error {
			rm := []string{"network", "rm"}
			for i := range fleet {
				name := fmt.Sprintf("made%d", i)
				if _, err := e.do("network", "create", name); err != nil {
					return err
				}
				rm = append(rm, name)
			}
			if _, err := e.do(rm...); err != nil {
				return err
			}
			return gone(e)
		})
		if err != nil {
			return nil, err
		}
		each[e] = d / fleet
	}
	return each, nil
}

// measureManyPorts starts a container with a hundred published ports and counts
// the processes that it brought.
func measureManyPorts(ctx context.Context, ours, peer *engine) ([]netLine, error) {
	ports := fmt.Sprintf("21000-%d:8000-%d", 21000+manyPorts-1, 8000+manyPorts-1)
	m, err := pairedMedians(portRounds, []*engine{ours, peer}, func(e *engine) ([]float64, error) {
		before := processCount()
		start, err := timedMS(func() error {
			_, err := e.do("run", "-d", "--name", "target", "-p", ports, image, "sleep", "3600")
			return err
		})
		if err != nil {
			return nil, err
		}
		// The shim and the container's first process are there with any port.
		more := processCount() - before
		end, err := timedMS(func() error { _, err := e.do("rm", "-f", "target"); return err })
		return []float64{start, end, float64(more)}, errors.Join(err, e.waitGone(ctx))
	})
	if err != nil {
		return nil, err
	}
	return []netLine{
		{what: fmt.Sprintf("`run -d` with %d published ports", manyPorts), unit: "ms", ours: m[ours][0], peers: m[peer][0], ratio: 20},
		{what: "`rm -f` of it", unit: "ms", ours: m[ours][1], peers: m[peer][1]},
		{what: "processes with it (shim and `sleep` make two)", unit: "processes", ours: m[ours][2], peers: m[peer][2], base: 2, limit: 1},
	}, nil
}

// processes counts all of this PID namespace, but the kernel's threads: of either
// engine only one does something at a time.
func processCount() (n int) {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		if raw, err := os.ReadFile(d + "/cmdline"); err == nil && len(raw) > 0 {
			n++
		}
	}
	return n
}

// measureNetCrowd compares the start of the first container on a bridge with that
// of the two hundredth, and the change of a rule with one container and with two
// hundred. Only ours: the peer has no such command, and the memory of a small
// machine does not hold two hundred of its shims.
func measureNetCrowd(ctx context.Context, ours, _ *engine) (lines []netLine, err error) {
	few, err := crowdTimes(ctx, ours)
	if err != nil {
		return nil, err
	}
	var names []string
	for i := range lastOfMany - 1 {
		names = append(names, fmt.Sprintf("c%d", i))
		if _, err := ours.do("run", "-d", "--name", names[i], "--network", userNetwork, image, "sleep", "3600"); err != nil {
			return nil, err
		}
	}
	many, err := crowdTimes(ctx, ours)
	if err != nil {
		return nil, err
	}
	if _, err := ours.do(append([]string{"rm", "-f"}, names...)...); err != nil {
		return nil, err
	}
	if err := ours.waitGone(ctx); err != nil {
		return nil, err
	}
	return []netLine{
		{what: fmt.Sprintf("`run -d` of container %d on one bridge, and of the first", lastOfMany), unit: "ms", ours: many[0], base: few[0], limit: 1.5},
		{what: fmt.Sprintf("`port add` + `port rm` with %d containers, and with one", lastOfMany), unit: "ms", ours: many[1], base: few[1], limit: 1.25},
	}, nil
}

// crowdTimes is the start of one more container and a change of its ports.
func crowdTimes(ctx context.Context, e *engine) ([]float64, error) {
	links := e.count("veth")
	m, err := pairedMedians(crowdRounds, []*engine{e}, func(e *engine) ([]float64, error) {
		start, err := timedMS(func() error {
			_, err := e.do("run", "-d", "--name", "target", "--network", userNetwork, image, "sleep", "3600")
			return err
		})
		if err != nil {
			return nil, err
		}
		change, err := timedMS(func() error {
			if _, err := e.do("port", "add", "target", "22000:80"); err != nil {
				return err
			}
			_, err := e.do("port", "rm", "target", "22000:80")
			return err
		})
		if err != nil {
			return nil, err
		}
		if _, err := e.do("rm", "-f", "target"); err != nil {
			return nil, err
		}
		return []float64{start, change}, e.waitCount(ctx, "veth", links)
	})
	return m[e], err
}
