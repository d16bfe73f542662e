package record

import (
	"encoding/json"
	"testing"
	"time"
)

// What is written by hand must be what encoding/json would write and read.
func TestRecord(t *testing.T) {
	for _, want := range []Record{
		{},
		{
			Version: "1.0.2", ID: "a", Pid: 42, Start: 1 << 63, Bundle: "/b \"\x01\\\u00e9<&", Rootfs: "/r", Created: time.Now().UTC(), Cgroup: "/c",
			Annotations: map[string]string{"k\n": "\"v\""}, Config: json.RawMessage(`{"hostname":"x"}`),
		},
	} {
		if want.Config == nil {
			want.Config = json.RawMessage("null")
		}
		marshalled, err := json.Marshal(&want)
		if err != nil {
			t.Fatal(err)
		}
		if got := want.encode(); string(got) != string(marshalled) {
			t.Errorf("got\n%s\nwant\n%s", got, marshalled)
		}
	}
}
