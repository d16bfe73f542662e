package processes

import (
	"errors"
	"os"
	"os/exec"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sampan-containers/sampan/fault"
)

func TestListShowsThisProcess(t *testing.T) {
	self := os.Getpid()
	rows, err := List(t.Context(), []int{self, 1 << 30})
	if err != nil || len(rows) != 1 {
		t.Fatalf("rows %v, %v", rows, err)
	}
	row := rows[0]
	if len(row) != len(Titles()) || row[1] != strconv.Itoa(self) || row[2] != strconv.Itoa(os.Getppid()) || !strings.HasPrefix(row[7], os.Args[0]) {
		t.Errorf("row %q", row)
	}
}

// The same as ps prints, where there is one.
func TestListAgreesWithPS(t *testing.T) {
	if _, err := exec.LookPath("ps"); err != nil {
		t.Skip("no ps on this machine")
	}
	cmd := exec.Command("sleep", "100")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	pids := []int{cmd.Process.Pid}
	var ours, theirs [][]string
	// Around the turn of a minute the two may differ.
	for range 3 {
		var err error
		var titles []string
		if ours, err = List(t.Context(), pids); err != nil {
			t.Fatal(err)
		}
		if titles, theirs, err = ps(t.Context(), "-ef", pids); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(titles, Titles()) {
			t.Fatalf("titles of ps: %q", titles)
		}
		if reflect.DeepEqual(ours, theirs) {
			return
		}
	}
	t.Errorf("ours   %q\ntheirs %q", ours, theirs)
}

func TestParseStat(t *testing.T) {
	for _, tt := range []struct{ text, comm string }{
		{"7 (sleep) S 1 7 7 34816 7 0 1 2 3 4 50 60 0 0 20 0 1 0 100 0 0", "sleep"},
		{"7 (a) R 9 (b) S 1 7 7 34816 7 0 1 2 3 4 50 60 0 0 20 0 1 0 100 0 0", "a) R 9 (b"},
	} {
		p, err := parseStat(tt.text)
		if err != nil || p.comm != tt.comm || p.pid != 7 || p.ppid != 1 || p.ticks != 110 || p.start != 100 || terminal(p.tty) != "pts/0" {
			t.Errorf("%q: %+v, %v", tt.text, p, err)
		}
	}
	for _, bad := range []string{"", "7", "7 (x", ") 7 (", "7 (x) S 1", "x (x) S 1 7 7 0 7 0 1 2 3 4 5 6 0 0 20 0 1 0 100 0"} {
		if _, err := parseStat(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestColumns(t *testing.T) {
	now := time.Date(2026, 3, 4, 12, 30, 0, 0, time.UTC)
	for _, tt := range []struct{ got, want string }{
		{startTime(now.Add(-time.Minute), now), "12:29"},
		{startTime(now.Add(-25*time.Hour), now), "Mar03"},
		{startTime(now.Add(-100*24*time.Hour), now), "2025"},
		{cpuTime(3661), "01:01:01"},
		{cpuTime(86400 + 5), "1-00:00:05"},
		{terminal(0), "?"},
		{terminal(4<<8 | 1), "tty1"},
		{terminal(4<<8 | 64), "ttyS0"},
		{strconv.FormatUint(share(200, 4*time.Second), 10), "50"},
		{strconv.FormatUint(share(9999, time.Second), 10), "99"},
		{strconv.FormatUint(share(9999, -time.Second), 10), "0"},
		{commandLine("a\x00b c\x00\x1b[2J\x00", &process{}), "a b c ?[2J"},
		{commandLine("", &process{comm: "kworker"}), "[kworker]"},
		{commandLine("x", &process{comm: "dead", state: 'Z'}), "[dead] <defunct>"},
	} {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}

func TestParseTable(t *testing.T) {
	const table = "  PID S COMMAND\n    1 S init of it all\n    7 S sleep 10\n    - S thread\n    8 R other\n"
	titles, rows, err := parse(table, []int{7})
	want := [][]string{{"7", "S", "sleep 10"}, {"-", "S", "thread"}}
	if err != nil || len(titles) != 3 || !reflect.DeepEqual(rows, want) {
		t.Errorf("%q %q %v", titles, rows, err)
	}
	for _, bad := range []string{"", "S COMMAND\nS x\n", "PID\nx\n"} {
		if _, _, err := parse(bad, nil); !errors.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestRefusedOptions(t *testing.T) {
	for _, options := range []string{"-o ppid=PID", "-o pid= -o uid=PID", "-\x00"} {
		if _, _, err := ps(t.Context(), options, []int{1}); !errors.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", options, err)
		}
	}
	t.Setenv("PATH", t.TempDir())
	if _, _, err := ps(t.Context(), "aux", []int{1}); !errors.Is(err, fault.NotImplemented) {
		t.Errorf("without ps: %v", err)
	}
}
