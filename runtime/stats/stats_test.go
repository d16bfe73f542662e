package stats

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func group(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestRead(t *testing.T) {
	for _, tt := range []struct {
		name  string
		paths map[string]string
		want  []string
	}{
		{"v1", map[string]string{
			"cpuacct": group(t, map[string]string{"cpuacct.usage": "90\n", "cpuacct.usage_percpu": "40 50 \n", "cpuacct.stat": "user 3\nsystem 2\n"}),
			"cpu":     group(t, map[string]string{"cpu.stat": "nr_periods 4\nnr_throttled 1\nthrottled_time 700\n"}),
			"cpuset":  group(t, map[string]string{"cpuset.cpus": "0-1,5\n", "cpuset.mems": "0\n"}),
			"memory": group(t, map[string]string{"memory.stat": "cache 11\nrss 12\n", "memory.limit_in_bytes": "1000\n",
				"memory.usage_in_bytes": "500\n", "memory.max_usage_in_bytes": "600\n", "memory.failcnt": "7\n"}),
			"pids":    group(t, map[string]string{"pids.current": "2\n", "pids.max": "10\n"}),
			"blkio":   group(t, map[string]string{"blkio.throttle.io_service_bytes_recursive": "8:0 Read 4096\n8:0 Write 0\nTotal 4096\n"}),
			"hugetlb": group(t, map[string]string{"hugetlb.2MB.usage_in_bytes": "5\n", "hugetlb.2MB.failcnt": "1\n", "hugetlb.2MB.rsvd.usage_in_bytes": "9\n"}),
			"":        "/nowhere",
		}, []string{`"usage":{"total":90,"percpu":[40,50],"kernel":20000000,"user":30000000}`, `"throttling":{"periods":4,"throttledPeriods":1,"throttledTime":700}`,
			`"cpuset":{"cpus":[0,1,5],"mems":[0]}`, `"cache":11,"usage":{"limit":1000,"usage":500,"max":600,"failcnt":7}`, `"raw":{"cache":11,"rss":12}`,
			`"pids":{"current":2,"limit":10}`, `{"major":8,"op":"Read","value":4096},{"major":8,"op":"Write"}`, `"hugetlb":{"2MB":{"usage":5,"failcnt":1}}`, `"network_interfaces":null`}},
		{"v2", map[string]string{"": group(t, map[string]string{
			"cpu.stat": "usage_usec 10\nuser_usec 6\nsystem_usec 4\nnr_periods 3\nthrottled_usec 2\n", "cpu.pressure": "some avg10=1.50 avg60=0.00 avg300=0.25 total=99\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=1\n",
			"memory.max": "max\n", "memory.current": "77\n", "memory.stat": "anon 1\nfile 33\n", "memory.swap.max": "max\n", "memory.swap.current": "3\n",
			"pids.current": "1\n", "pids.max": "max\n", "io.stat": "254:0 rbytes=8 wbytes=9 rios=1 wios=2 dbytes=0 dios=0\n", "hugetlb.2MB.current": "4\n", "hugetlb.2MB.events": "max 6\n",
		})}, []string{`"total":10000,"kernel":4000,"user":6000`, `"psi":{"some":{"avg10":1.5,"avg60":0,"avg300":0.25,"total":99},"full":{"avg10":0,"avg60":0,"avg300":0,"total":1}}`,
			`"cache":33,"usage":{"limit":18446744073709551615,"usage":77,"failcnt":0},"swap":{"limit":18446744073709551615,"usage":80,"failcnt":0}`,
			`"pids":{"current":1}`, `"ioServiceBytesRecursive":[{"major":254,"op":"Read","value":8}`, `"ioServicedRecursive":[{"major":254,"op":"Read","value":1}`, `"2MB":{"usage":4,"failcnt":6}`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := Read(tt.paths)
			if err != nil {
				t.Fatal(err)
			}
			data, err := json.Marshal(s)
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range tt.want {
				if !strings.Contains(string(data), w) {
					t.Errorf("%s is missing in\n%s", w, data)
				}
			}
		})
	}
}
