package exitrecord

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sampan-containers/sampan/shim/wire"
)

func TestWrite(t *testing.T) {
	at := time.Date(2026, 11, 24, 6, 0, 0, 5, time.UTC)
	for _, sync := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "exit.json")
		if err := Prepare(path); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("the record is there before the end: %v", err)
		}
		for _, r := range []wire.ExitRecord{
			{Code: 137, Signal: 9, OOM: true, At: at, Error: "a \"long\"\nreason"},
			{Code: 0, At: at}, // shorter than what it replaces
		} {
			if err := Write(path, &r, sync); err != nil {
				t.Fatal(err)
			}
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var got struct {
				Code, Signal int
				OOM          bool
				At           time.Time
				Error        string
			}
			if err := json.Unmarshal(raw, &got); err != nil || wire.ExitRecord(got) != r {
				t.Errorf("%s: got %+v, %v, want %+v", raw, got, err, r)
			}
		}
		if left, _ := filepath.Glob(path + ".*"); len(left) > 0 {
			t.Errorf("left over: %v", left)
		}
	}
	path := filepath.Join(t.TempDir(), "exit.json")
	if err := Prepare(path); err != nil {
		t.Fatal(err)
	}
	Abandon(path)
	if left, _ := filepath.Glob(path + "*"); len(left) > 0 {
		t.Errorf("left over after a failed start: %v", left)
	}
	if err := Prepare(filepath.Join(t.TempDir(), "no", "exit.json")); err == nil {
		t.Error("a missing directory is no error")
	}
}
