package cli

import (
	"encoding/json"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
)

func TestPauseAndUnpause(t *testing.T) {
	fakeDaemon(t, route{
		"POST /containers/web/pause":   reply(204, nil),
		"POST /containers/db/pause":    refuse(409, "container db is already paused"),
		"POST /containers/web/unpause": reply(204, nil),
	}.ServeHTTP)
	if got := runCLI("pause", "web", "db"); got.code != 1 || got.out != "web\n" || !strings.Contains(got.err, "container db is already paused") {
		t.Errorf("got %+v", got)
	}
	if got := runCLI("container", "unpause", "web"); got.code != 0 || got.out != "web\n" {
		t.Errorf("got %+v", got)
	}
	if got := runCLI("pause"); got.code == 0 {
		t.Errorf("without a name: %+v", got)
	}
}

func TestRename(t *testing.T) {
	asked := ""
	fakeDaemon(t, route{"POST /containers/one/rename": func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.Query().Get("name")
		w.WriteHeader(http.StatusNoContent)
	}}.ServeHTTP)
	if got := runCLI("rename", "one", " two "); got.code != 0 || got.out != "" || asked != "two" {
		t.Errorf("got %+v, asked for %q", got, asked)
	}
	for _, args := range [][]string{{"rename", "one", ""}, {"rename", "one", "/"}, {"rename", "one"}, {"rename", "absent", "x"}} {
		if got := runCLI(args...); got.code != 1 {
			t.Errorf("%q: %+v", args, got)
		}
	}
}

func TestTop(t *testing.T) {
	asked := ""
	fakeDaemon(t, route{"GET /containers/web/top": func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.Query().Get("ps_args")
		answer(w, 200, container.TopResponse{Titles: []string{"PID", "CMD"}, Processes: [][]string{{"7", "sleep 10"}}})
	}}.ServeHTTP)
	got := runCLI("top", "web", "-o", "pid,cmd")
	if want := "PID                 CMD\n7                   sleep 10\n"; got.code != 0 || got.out != want || asked != "-o pid,cmd" {
		t.Errorf("got %+v, asked for %q", got, asked)
	}
}

func TestUpdate(t *testing.T) {
	var sent container.UpdateConfig
	fakeDaemon(t, route{"POST /containers/web/update": func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		sent = container.UpdateConfig{}
		if err := json.Unmarshal(raw, &sent); err != nil {
			t.Error(err)
		}
		answer(w, 200, container.UpdateResponse{Warnings: []string{"careful"}})
	}}.ServeHTTP)
	pids := int64(-1)
	for _, tc := range []struct {
		args []string
		want container.UpdateConfig
	}{
		{[]string{"--blkio-weight", "300"}, container.UpdateConfig{Resources: container.Resources{BlkioWeight: 300}}},
		{[]string{"--cpu-period", "50000", "--cpu-quota", "1000"}, container.UpdateConfig{Resources: container.Resources{CPUPeriod: 50000, CPUQuota: 1000}}},
		{[]string{"--cpu-rt-period", "7", "--cpu-rt-runtime", "6"}, container.UpdateConfig{Resources: container.Resources{CPURealtimePeriod: 7, CPURealtimeRuntime: 6}}},
		{[]string{"-c", "512", "--cpus", "1.5"}, container.UpdateConfig{Resources: container.Resources{CPUShares: 512, NanoCPUs: 15e8}}},
		{[]string{"--cpuset-cpus", "0", "--cpuset-mems", "1"}, container.UpdateConfig{Resources: container.Resources{CpusetCpus: "0", CpusetMems: "1"}}},
		{[]string{"-m", "64m", "--memory-reservation", "32m", "--memory-swap", "-1"}, container.UpdateConfig{Resources: container.Resources{Memory: 64 << 20, MemoryReservation: 32 << 20, MemorySwap: -1}}},
		{[]string{"--pids-limit", "-1"}, container.UpdateConfig{Resources: container.Resources{PidsLimit: &pids}}},
		{[]string{"--restart", "on-failure:3"}, container.UpdateConfig{RestartPolicy: container.RestartPolicy{Name: "on-failure", MaximumRetryCount: 3}}},
	} {
		got := runCLI(append(append([]string{"update"}, tc.args...), "web")...)
		if got.code != 0 || got.out != "web\n" || !strings.Contains(got.err, "careful") || !reflect.DeepEqual(sent, tc.want) {
			t.Errorf("%q: %+v, sent %+v", tc.args, got, sent)
		}
	}
	for _, args := range [][]string{{"update", "web"}, {"update", "--restart", "always:x", "web"}, {"update", "-m", "1m"}} {
		if got := runCLI(args...); got.code == 0 {
			t.Errorf("%q: %+v", args, got)
		}
	}
}

func TestContainerPrune(t *testing.T) {
	filters := ""
	fakeDaemon(t, route{"POST /containers/prune": func(w http.ResponseWriter, r *http.Request) {
		filters = r.URL.Query().Get("filters")
		answer(w, 200, container.PruneReport{ContainersDeleted: []string{"abc"}, SpaceReclaimed: 2048})
	}}.ServeHTTP)
	got := runCLI("container", "prune", "-f", "--filter", "until=24h", "--filter", "label=a")
	if got.code != 0 || got.out != "Deleted Containers:\nabc\n\nTotal reclaimed space: 2.048kB\n" || !strings.Contains(filters, `"until":{"24h":true}`) || !strings.Contains(filters, `"label":{"a":true}`) {
		t.Errorf("got %+v, filters %s", got, filters)
	}
	// Without an answer nothing is removed.
	filters = ""
	if got := runCLI("container", "prune"); got.code != 0 || !strings.Contains(got.out, "WARNING! This will remove all stopped containers.") || filters != "" || strings.Contains(got.out, "Deleted") {
		t.Errorf("got %+v", got)
	}
}

func TestStats(t *testing.T) {
	sample := container.StatsResponse{ID: strings.Repeat("ab", 32), Name: "/web"}
	sample.CPUStats.CPUUsage.TotalUsage, sample.PreCPUStats.CPUUsage.TotalUsage = 300, 100
	sample.CPUStats.SystemUsage, sample.PreCPUStats.SystemUsage, sample.CPUStats.OnlineCPUs = 2000, 1000, 2
	sample.MemoryStats = container.MemoryStats{Usage: 3 << 20, Limit: 4 << 20, Stats: map[string]uint64{"total_inactive_file": 1 << 20}}
	sample.Networks = map[string]container.NetworkStats{"eth0": {RxBytes: 1000, TxBytes: 1}, "eth1": {RxBytes: 500}}
	sample.BlkioStats.IoServiceBytesRecursive = []container.BlkioStatEntry{{Op: "Read", Value: 10}, {Op: "write", Value: 20}, {Op: "Total", Value: 30}}
	sample.PidsStats.Current = 3
	list := []container.Summary{{ID: sample.ID, Names: []string{"/web"}}}
	var queries []string
	fakeDaemon(t, route{
		"GET /containers/json": reply(200, list),
		"GET /containers/" + sample.ID + "/stats": func(w http.ResponseWriter, r *http.Request) {
			queries = append(queries, r.URL.RawQuery)
			answer(w, 200, sample)
		},
		"GET /containers/web/stats": reply(200, sample),
	}.ServeHTTP)
	const row = "abababababab   web       40.00%    2MiB / 4MiB         50.00%    1.5kB / 1B   10B / 20B   3\n"
	const head = "CONTAINER ID   NAME      CPU %     MEM USAGE / LIMIT   MEM %     NET I/O      BLOCK I/O   PIDS\n"
	for _, args := range [][]string{{"stats", "--no-stream"}, {"stats", "--no-stream", "web"}, {"container", "stats", "--no-stream", "-a"}} {
		if got := runCLI(args...); got.code != 0 || got.out != head+row {
			t.Errorf("%q: %+v", args, got)
		}
	}
	if !slices.Equal(queries, []string{"stream=false", "stream=false"}) {
		t.Errorf("queries %q", queries)
	}
	if got := runCLI("stats", "--no-stream", "--no-trunc", "--format", "{{.Container}} {{.ID}}", "web"); got.out != "web "+sample.ID+"\n" {
		t.Errorf("got %+v", got)
	}
	if got := runCLI("stats", "--no-stream", "--format", "json", "web"); !strings.Contains(got.out, `"MemUsage":"2MiB / 4MiB"`) || !strings.Contains(got.out, `"PIDs":"3"`) {
		t.Errorf("got %+v", got)
	}
	if got := runCLI("stats", "--no-stream", "absent", "web"); got.code != 1 || !strings.Contains(got.err, "No such container") || !strings.Contains(got.out, "40.00%") {
		t.Errorf("got %+v", got)
	}
	// A stream shows what comes and ends with the last container that was named.
	if got := runCLI("stats", "--format", "{{.Name}} {{.PIDs}}", "web"); got.code != 0 || !strings.HasPrefix(got.out, "web 3\n") && !strings.HasPrefix(got.out, "-- --\n") {
		t.Errorf("got %+v", got)
	}
	if got := runCLI("stats", "absent"); got.code != 1 || !strings.Contains(got.err, "No such container") {
		t.Errorf("got %+v", got)
	}
}
