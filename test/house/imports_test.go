// Package house holds the rules of the house: who may import whom, and how
// large a package or a function may grow.
package house

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/sampan-containers/sampan/"

type goPackage struct {
	ImportPath string
	Dir        string
	Standard   bool
	Imports    []string
	Deps       []string
	GoFiles    []string
}

// goList returns what `go list` says of the patterns.
func goList(t *testing.T, args ...string) []goPackage {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Dir,Standard,Imports,Deps,GoFiles"}, args...)...)
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %s", exit.Stderr)
		}
		t.Fatal(err)
	}
	var packages []goPackage
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

// layers lists the top folders from the bottom up. A package may import
// packages of its own folder and of folders in a lower row.
var layers = [][]string{
	{"version", "fault"},
	{"kernel"},
	{"event", "state", "logs"},
	{"runtime"},
	{"shim"},
	{"content", "registry"},
	{"layer"},
	{"snapshot", "network", "volume"},
	{"box"},
	{"image"},
	{"container"},
	{"server"},
	{"engine"},
	{"cli"},
	{"cmd"},
}

func layerOf(importPath string) int {
	top, _, _ := strings.Cut(strings.TrimPrefix(importPath, module), "/")
	return slices.IndexFunc(layers, func(row []string) bool { return slices.Contains(row, top) })
}

func TestImportsGoDown(t *testing.T) {
	for _, p := range goList(t, "./...") {
		from := strings.TrimPrefix(p.ImportPath, module)
		if strings.HasPrefix(from, "test/") {
			continue
		}
		have := layerOf(p.ImportPath)
		if have < 0 {
			t.Errorf("%s: its folder has no place in the list of layers", from)
			continue
		}
		for _, imported := range p.Imports {
			to, ours := strings.CutPrefix(imported, module)
			if !ours {
				continue
			}
			fromTop, _, _ := strings.Cut(from, "/")
			toTop, _, _ := strings.Cut(to, "/")
			if fromTop == toTop {
				continue
			}
			if layerOf(imported) >= have {
				t.Errorf("%s imports %s, which does not lie below it", from, to)
			}
		}
	}
}

// cli talks to the daemon by its API alone.
func TestClientLinksNothingOfTheDaemon(t *testing.T) {
	for _, p := range goList(t, "./cmd/sampan") {
		for _, dep := range p.Deps {
			to, ours := strings.CutPrefix(dep, module)
			top, _, _ := strings.Cut(to, "/")
			if ours && !slices.Contains([]string{"cli", "fault", "version", "kernel"}, top) {
				t.Errorf("cmd/sampan links %s", to)
			}
		}
	}
}

// closedImports is all that the runtime and the shim's own side may link
// besides the standard library and our own lower folders.
var closedImports = []string{
	"golang.org/x/sys/unix",
	"github.com/opencontainers/runtime-spec/specs-go",
	"github.com/opencontainers/runtime-spec/specs-go/features",
}

// heavyStandard must not be linked into sampan-runtime: each costs start time
// and memory in every container's shim.
var heavyStandard = []string{
	"net/http", "crypto/tls", "crypto/x509", "text/template", "html/template", "go/ast", "database/sql", "encoding/xml", "log/slog",
}

func TestRuntimeImportListIsClosed(t *testing.T) {
	standard := map[string]bool{}
	for _, p := range goList(t, "-deps", "./cmd/sampan-runtime") {
		standard[p.ImportPath] = p.Standard
	}
	for dep, std := range standard {
		switch {
		case std && slices.Contains(heavyStandard, dep):
			t.Errorf("sampan-runtime links %s", dep)
		case std || strings.HasPrefix(dep, module):
		case !slices.Contains(closedImports, dep):
			t.Errorf("sampan-runtime links %s, which is not on the closed list", dep)
		}
	}
	for dep := range standard {
		to, ours := strings.CutPrefix(dep, module)
		top, _, _ := strings.Cut(to, "/")
		if ours && !slices.Contains([]string{"fault", "version", "kernel", "runtime", "shim", "logs", "cmd"}, top) {
			t.Errorf("sampan-runtime links %s", path.Clean(to))
		}
	}
}
