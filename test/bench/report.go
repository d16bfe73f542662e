package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/sampan-containers/sampan/test/bench/clock"
	"github.com/sampan-containers/sampan/test/bench/runtimes"
)

// report gathers one run's figures and prints them.
type report struct {
	started  time.Time
	versions []string
	runtimes runtimes.Report
	rows     []result
	life     []lifeResult
	remapped remappedResult
	network  []netLine
	dns      []dnsLine
	memory   []memoryLine
	images   []imageResult
	lean     lean
	pulled   int // the daemon's peak after all pulls, in MiB
}

func (r *report) rowHead(w io.Writer) {
	fmt.Fprintf(w, "| command | sampan | %s | ratio | 200 in a row, each: sampan | %s | ratio | target |\n|---|--:|--:|--:|--:|--:|--:|---|\n", peerName, peerName)
}

func (r *report) printRow(w io.Writer, res result) {
	if len(r.rows) == 1 && w == os.Stdout {
		r.rowHead(w)
	}
	first, second := ratio(res.latency, peerName), ratio(res.inARow, peerName)
	fmt.Fprintf(w, "| `%s` | %s | %s | %.1f | %s | %s | %.1f | ≥ %.0f: %s |\n", res.row.name,
		clock.Millis(res.latency["sampan"]), clock.Millis(res.latency[peerName]), first,
		clock.Millis(res.inARow["sampan"]), clock.Millis(res.inARow[peerName]), second,
		res.row.target, clock.Verdict(min(first, second) >= res.row.target))
}

func (r *report) printMemory(w io.Writer) {
	fmt.Fprintf(w, "\n| memory | sampan | limit | %s |\n|---|--:|---|--:|\n", peerName)
	for _, line := range r.memory {
		peer := "–"
		if line.ofPeer > 0 {
			peer = fmt.Sprintf("%d KiB (%s)", line.ofPeer, line.peerWhat)
		}
		fmt.Fprintf(w, "| %s | %d KiB | ≤ %d KiB: %s | %s |\n", line.what, line.value, line.limit, clock.Verdict(line.value <= line.limit), peer)
	}
}

// write writes the whole run as docs/benchmarks.md.
func (r *report) write(path string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# Benchmarks\n\nWritten by `make bench` on %s; one run, one machine (2 cores), paired round by round. "+
		"A ratio is the peer's median over ours. Same image (static busybox), same flags, fresh loop-mounted ext4 and a network namespace for each engine, log driver json-file on both sides; a command whose latency is measured begins when what the ones before have left is gone, that of a runtime after 50 ms of rest. "+
		"\"200 in a row\" counts until no cgroup, link, namespace, directory or process of them exists.\n\n", r.started.UTC().Format("2006-01-02"))
	for _, v := range r.versions {
		fmt.Fprintf(&b, "- %s\n", v)
	}
	b.WriteString("\n## Runtime\n")
	r.runtimes.Print(&b)
	b.WriteString("\n## Engine\n\n")
	r.rowHead(&b)
	for _, res := range r.rows {
		r.printRow(&b, res)
	}
	b.WriteString("\n## Life\n\n")
	r.lifeHead(&b)
	for _, res := range r.life {
		r.printLife(&b, res)
	}
	r.printRemapped(&b)
	b.WriteString("\n## Networks\n\n")
	netHead(&b)
	for _, l := range r.network {
		printNetLine(&b, l)
	}
	b.WriteString("\n## Names\n")
	r.printDNS(&b)
	b.WriteString("\n## Images\n\nRegistry (Debian's docker-registry) on the loopback of each engine's network namespace; median of 3 rounds; wall seconds and, in brackets, processor seconds of client and daemon together.\n\n")
	r.imageHead(&b)
	for _, res := range r.images {
		r.printImage(&b, res)
	}
	fmt.Fprintf(&b, "\nThe daemon's peak after all pulls: %d MiB.\n\n%v\n", r.pulled, r.lean)
	b.WriteString("\n## Memory\n")
	r.printMemory(&b)
	return os.WriteFile(path, []byte(b.String()), 0o644)
}
