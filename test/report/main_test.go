package main

import (
	"strings"
	"testing"
)

func TestReport(t *testing.T) {
	for _, tt := range []struct {
		name, in, want string
		ok             bool
	}{
		{name: "passed: the package's line alone", ok: true, want: "ok  \tp\t0.1s\n", in: `
{"Action":"start","Package":"p"}
{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:3: not for now\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"--- PASS: TestA (0.00s)\n"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Output":"PASS\n"}
{"Action":"output","Package":"p","Output":"ok  \tp\t0.1s\n"}
{"Action":"pass","Package":"p"}`},
		{name: "skipped: the reason, once, and in one line", ok: true,
			want: "skipped: p TestA/v2: runc is not installed: get it\nskipped: p TestB: (it gives no reason)\nok  \tp\t0.1s\n", in: `
{"Action":"output","Package":"p","Test":"TestA/v2","Output":"=== RUN   TestA/v2\n"}
{"Action":"output","Package":"p","Test":"TestA/v2","Output":"    a_test.go:3: skipped: runc is not installed: \n"}
{"Action":"output","Package":"p","Test":"TestA/v2","Output":"        get it\n"}
{"Action":"output","Package":"p","Test":"TestA/v2","Output":"    --- SKIP: TestA/v2 (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"TestA/v2"}
{"Action":"output","Package":"p","Test":"TestB","Output":"--- SKIP: TestB (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"TestB"}
{"Action":"output","Package":"p","Output":"PASS\n"}
{"Action":"output","Package":"p","Output":"ok  \tp\t0.1s\n"}
{"Action":"pass","Package":"p"}`},
		{name: "a whole package that skips itself", ok: true, want: "skipped: p: it needs root\nok  \tp\t0.1s\n", in: `
{"Action":"output","Package":"p","Output":"skipped: it needs root\n"}
{"Action":"output","Package":"p","Output":"ok  \tp\t0.1s\n"}
{"Action":"pass","Package":"p"}`},
		{name: "no tests", ok: true, want: "?   \tp\t[no test files]\n", in: `
{"Action":"output","Package":"p","Output":"?   \tp\t[no test files]\n"}
{"Action":"skip","Package":"p"}`},
		{name: "failed: its output, not its neighbour's", want: "    a_test.go:4: wrong\n--- FAIL: TestA (0.00s)\nFAIL\nFAIL\tp\t0.1s\n", in: `
{"Action":"output","Package":"p","Test":"TestB","Output":"    a_test.go:3: right\n"}
{"Action":"pass","Package":"p","Test":"TestB"}
{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:4: wrong\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"--- FAIL: TestA (0.00s)\n"}
{"Action":"fail","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Output":"FAIL\n"}
{"Action":"output","Package":"p","Output":"FAIL\tp\t0.1s\n"}
{"Action":"fail","Package":"p"}`},
		{name: "a test without an end", want: "FAIL\tp\t0.1s\npanic: cut off\n", in: `
{"Action":"output","Package":"p","Test":"TestA","Output":"panic: cut off\n"}
{"Action":"output","Package":"p","Output":"FAIL\tp\t0.1s\n"}
{"Action":"fail","Package":"p"}`},
		{name: "does not build", want: "# p\np.go:1:1: nonsense\nFAIL\tp [build failed]\n", in: `
{"ImportPath":"p","Action":"build-output","Output":"# p\n"}
{"ImportPath":"p","Action":"build-output","Output":"p.go:1:1: nonsense\n"}
{"ImportPath":"p","Action":"build-fail"}
{"Action":"output","Package":"p","Output":"FAIL\tp [build failed]\n"}
{"Action":"fail","Package":"p","FailedBuild":"p"}`},
		{name: "what is no event", ok: true, want: "go: downloading\n", in: "\ngo: downloading\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			ok, err := report(strings.NewReader(strings.TrimPrefix(tt.in, "\n")), &out)
			if err != nil {
				t.Fatal(err)
			}
			if out.String() != tt.want || ok != tt.ok {
				t.Errorf("it says (ok: %v)\n%swant (ok: %v)\n%s", ok, out.String(), tt.ok, tt.want)
			}
		})
	}
	if _, err := report(strings.NewReader(""), &strings.Builder{}); err == nil {
		t.Error("silence passes for success")
	}
}
