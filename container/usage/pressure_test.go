package usage

import (
	"testing"

	"github.com/sampan-containers/sampan/runtime/stats"
)

func TestPressure(t *testing.T) {
	dir := group(t, map[string]string{
		"cpu.pressure":    "some avg10=1.50 avg60=0.25 avg300=0.00 total=123456\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n",
		"memory.pressure": "some avg10=99.00 avg60=0.00 avg300=0.00 total=1\n",
		"io.pressure":     "",
	})
	p := pressure(dir)
	if p == nil || p.CPU == nil || p.Memory == nil || p.IO != nil {
		t.Fatalf("%+v", p)
	}
	if want := (stats.PSI{Some: stats.PSILine{Avg10: 1.5, Avg60: 0.25, Total: 123456}, Full: stats.PSILine{Total: 7}}); *p.CPU != want {
		t.Errorf("cpu %+v", *p.CPU)
	}
	if p.Memory.Some.Avg10 != 99 {
		t.Errorf("memory %+v", *p.Memory)
	}
	if pressure(t.TempDir()) != nil {
		t.Error("a group without pressure has some")
	}
}
