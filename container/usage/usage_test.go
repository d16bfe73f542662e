package usage

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/moby/moby/api/types/container"

	"github.com/sampan-containers/sampan/fault"
)

// group makes a directory with the files of one control group.
func group(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestV1(t *testing.T) {
	cpu := group(t, map[string]string{
		"cpuacct.usage": "3000\n", "cpuacct.usage_percpu": "1000 2000 \n", "cpuacct.stat": "user 2\nsystem 1\n",
		"cpu.stat": "nr_periods 7\nnr_throttled 3\nthrottled_time 55\n",
	})
	memory := group(t, map[string]string{
		"memory.usage_in_bytes": "8192\n", "memory.max_usage_in_bytes": "9000\n", "memory.failcnt": "4\n",
		"memory.limit_in_bytes": "67108864\n", "memory.stat": "cache 12\ntotal_inactive_file 5\n",
	})
	blkio := group(t, map[string]string{"blkio.throttle.io_service_bytes_recursive": "8:0 Read 4096\n8:0 Write 1\n8:0 Total 4097\nTotal 4097\n"})
	pid := group(t, map[string]string{"pids.current": "3\n", "pids.max": "max\n"})
	got, err := Read(Source{Groups: map[string]string{"cpu": cpu, "cpuacct": cpu, "memory": memory, "blkio": blkio, "pids": pid, "": t.TempDir()}})
	if err != nil {
		t.Fatal(err)
	}
	if u := got.CPUStats.CPUUsage; u.TotalUsage != 3000 || !reflect.DeepEqual(u.PercpuUsage, []uint64{1000, 2000}) || u.UsageInUsermode != 2e7 || u.UsageInKernelmode != 1e7 {
		t.Errorf("processor time %+v", u)
	}
	if got.CPUStats.ThrottlingData != (container.ThrottlingData{Periods: 7, ThrottledPeriods: 3, ThrottledTime: 55}) {
		t.Errorf("throttling %+v", got.CPUStats.ThrottlingData)
	}
	if m := got.MemoryStats; m.Usage != 8192 || m.MaxUsage != 9000 || m.Failcnt != 4 || m.Limit != 64<<20 || m.Stats["total_inactive_file"] != 5 {
		t.Errorf("memory %+v", m)
	}
	want := []container.BlkioStatEntry{{Major: 8, Op: "Read", Value: 4096}, {Major: 8, Op: "Write", Value: 1}, {Major: 8, Op: "Total", Value: 4097}}
	if !reflect.DeepEqual(got.BlkioStats.IoServiceBytesRecursive, want) {
		t.Errorf("block I/O %+v", got.BlkioStats.IoServiceBytesRecursive)
	}
	if got.PidsStats != (container.PidsStats{Current: 3}) {
		t.Errorf("processes %+v", got.PidsStats)
	}
	if got.CPUStats.SystemUsage == 0 || got.CPUStats.OnlineCPUs == 0 || got.Networks != nil {
		t.Errorf("%+v", got)
	}
}

func TestV2(t *testing.T) {
	dir := group(t, map[string]string{
		"cpu.stat":       "usage_usec 3\nuser_usec 2\nsystem_usec 1\nnr_periods 7\nnr_throttled 3\nthrottled_usec 4\n",
		"memory.current": "8192\n", "memory.max": "max\n", "memory.events": "low 0\noom 2\n", "memory.stat": "anon 1\ninactive_file 5\n",
		"io.stat": "8:16 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n8:0 \n", "pids.current": "3\n", "pids.max": "max\n",
	})
	got, err := Read(Source{Groups: map[string]string{"": dir}})
	if err != nil {
		t.Fatal(err)
	}
	if u := got.CPUStats.CPUUsage; u.TotalUsage != 3000 || u.UsageInUsermode != 2000 || u.UsageInKernelmode != 1000 || got.CPUStats.ThrottlingData.ThrottledTime != 4000 {
		t.Errorf("processor time %+v", got.CPUStats)
	}
	if m := got.MemoryStats; m.Usage != 8192 || m.Limit != machineMemory() || m.Failcnt != 2 || m.Stats["inactive_file"] != 5 {
		t.Errorf("memory %+v", m)
	}
	want := []container.BlkioStatEntry{{Major: 8, Minor: 16, Op: "read", Value: 10}, {Major: 8, Minor: 16, Op: "write", Value: 20}}
	if !reflect.DeepEqual(got.BlkioStats.IoServiceBytesRecursive, want) || got.BlkioStats.IoServicedRecursive != nil {
		t.Errorf("block I/O %+v", got.BlkioStats)
	}
	if got.PidsStats != (container.PidsStats{Current: 3, Limit: 1<<64 - 1}) {
		t.Errorf("processes %+v", got.PidsStats)
	}
}

func TestInterfaces(t *testing.T) {
	const text = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0
  eth0:    1296      16    1    2    0     0          0         0      516       6    3    4    0     0       0          0
  eth1:    x
`
	want := map[string]container.NetworkStats{"eth0": {RxBytes: 1296, RxPackets: 16, RxErrors: 1, RxDropped: 2, TxBytes: 516, TxPackets: 6, TxErrors: 3, TxDropped: 4}}
	if got := parseInterfaces(text); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	if _, err := interfaces("/proc/self/net/dev"); err != nil {
		t.Error(err)
	}
}

func TestGroupsThatHaveGone(t *testing.T) {
	for _, groups := range []map[string]string{{"": "/nowhere"}, {"memory": "/nowhere", "cpuacct": "/nowhere"}, nil} {
		if _, err := Read(Source{Groups: groups}); !errors.Is(err, fault.NotFound) {
			t.Errorf("%v: %v", groups, err)
		}
	}
}
