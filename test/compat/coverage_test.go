package compat

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	apiTable = "../../server/testdata/api.tsv"
	cliTable = "../../cli/testdata/cli.tsv"
)

// groups are those of the API that the cases must cover.
var groups = []string{"system", "container", "exec", "volume", "image"}

// elsewhere are the routes that need a registry: the tests of the folder named
// have their cases.
var elsewhere = map[string]string{
	"POST /auth":                      "registry/",
	"POST /images/{name}/push":        "registry/",
	"GET /images/search":              "registry/",
	"GET /images/{name}/attestations": "registry/",
}

// unanswered are the statuses that Docker's specification names and its code
// never answers, or that ours cannot come to, with the reason.
var unanswered = map[string]string{
	"POST /images/{name}/tag 409":         "a tag moves, in Docker too",
	"PUT /volumes/{name} 200":             "only of cluster volumes, which need a swarm",
	"PUT /volumes/{name} 400":             "only of cluster volumes, which need a swarm",
	"PUT /volumes/{name} 404":             "only of cluster volumes, which need a swarm",
	"PUT /volumes/{name} 503":             "only of cluster volumes, which need a swarm",
	"GET /images/{name}/attestations 501": "registry's",
	"POST /images/create 404":             "of a pull; tests of the registry have it",
	"GET /containers/{id}/attach/ws 200":  "the old protocol without an upgrade; an upgrade answers 101",
}

// serverError is the one place where an error without a class becomes 500 for
// every route: no route writes that status itself, which TestRoutesWriteNo500
// holds, so one case of it is the case of all.
const serverError = 500

func cases(t *testing.T) []Line {
	t.Helper()
	files, err := filepath.Glob("cases/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	var all []Line
	for _, f := range files {
		lines, err := Lines(f)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, lines...)
	}
	return all
}

// TestEveryStatusOfEveryRouteHasACase reads routes.txt.
func TestEveryStatusOfEveryRouteHasACase(t *testing.T) {
	routes, err := Routes(apiTable)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	for _, l := range cases(t) {
		if l.File != "routes.txt" || strings.HasPrefix(l.Command, "docker ") {
			continue
		}
		r, err := ParseRequest(l.Command)
		if err != nil {
			t.Fatalf("%s: %v", l.Name(), err)
		}
		known := false
		for _, route := range routes {
			if route.Matches(r.Method, r.Path) || route.Method == "OPTIONS" && r.Method == "OPTIONS" {
				key := route.Method + " " + route.Path
				seen[key], seen[fmt.Sprint(key, " ", r.Status)] = l.Name(), l.Name()
				known = true
			}
		}
		if !known {
			t.Errorf("%s: %s %s is no route of the table", l.Name(), r.Method, r.Path)
		}
	}
	covered, total := 0, 0
	for _, route := range routes {
		if !slices.Contains(groups, route.Group) {
			continue
		}
		key := route.Method + " " + route.Path
		if elsewhere[key] != "" {
			continue
		}
		if seen[key] == "" && !strings.HasPrefix(key, "PUT /volumes") {
			t.Errorf("%s has no case", key)
		}
		for _, status := range route.Status {
			total++
			name := fmt.Sprint(key, " ", status)
			switch {
			case seen[name] != "" || status == serverError:
				covered++
			case unanswered[name] != "":
			default:
				t.Errorf("%s has no case", name)
			}
		}
	}
	t.Logf("%d statuses of routes have a case, of %d", covered, total)
}

// TestRoutesWriteNo500 holds what makes one case of 500 enough.
func TestRoutesWriteNo500(t *testing.T) {
	files, err := filepath.Glob("../../server/*/*.go")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(f, "_test.go") && strings.Contains(string(raw), "StatusInternalServerError") {
			t.Errorf("%s answers 500 itself", f)
		}
	}
	raw, err := os.ReadFile("../../server/server_test.go")
	if err != nil || !strings.Contains(string(raw), "500") {
		t.Errorf("server_test.go has no case of an error without a class: %v", err)
	}
}

// without are the flags that have no case, with the reason. It may only get shorter.
var without = map[string]string{}

// mine tells whether a command belongs to the groups that the cases must cover.
func mine(c *Command) bool {
	for _, prefix := range []string{"container", "image", "volume", "system"} {
		if strings.HasPrefix(c.Names[0], prefix+" ") && !slices.Contains([]string{"image build", "image pull", "image push"}, c.Names[0]) {
			return true
		}
	}
	return slices.Contains([]string{"inspect", "version"}, c.Names[0])
}

// TestEveryFlagOfEveryCommandHasACase reads all lines, and the tables of package
// parity, whose rows are the arguments of create.
func TestEveryFlagOfEveryCommandHasACase(t *testing.T) {
	commands, err := Commands(cliTable)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	use := func(c *Command, flag string) { seen[c.Names[0]+" "+flag] = true }
	for _, l := range cases(t) {
		Used(commands, l.Command, use)
	}
	count := 0
	for i := range commands {
		c := &commands[i]
		if !mine(c) {
			continue
		}
		if !seen[c.Names[0]+" "] {
			t.Errorf("%s has no case", c.Names[0])
		}
		for _, f := range c.Flags {
			key := c.Names[0] + " " + f.Name
			if seen[key] {
				count++
				if without[key] != "" {
					t.Errorf("%s has a case now: take it from the list of those without", key)
				}
			} else if without[key] == "" && f.Name != "--help" {
				t.Errorf("%s has no case", key)
			}
		}
	}
	t.Logf("%d flags have a case, %d have none", count, len(without))
}
