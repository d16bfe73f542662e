package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	maxPackageLines  = 3000
	maxFunctionLines = 100
)

// longFunctions are the exceptions, each with its reason.
var longFunctions = map[string]string{}

// largePackages are the exceptions, each with its reason.
var largePackages = map[string]string{}

func TestPackagesAndFunctionsStaySmall(t *testing.T) {
	for _, p := range goList(t, "./...") {
		name := strings.TrimPrefix(p.ImportPath, module)
		lines := 0
		for _, file := range p.GoFiles {
			raw, err := os.ReadFile(filepath.Join(p.Dir, file))
			if err != nil {
				t.Fatal(err)
			}
			if ast.IsGenerated(parse(t, filepath.Join(p.Dir, file))) {
				continue
			}
			lines += strings.Count(string(raw), "\n")
			checkFunctions(t, name, filepath.Join(p.Dir, file))
		}
		if lines > maxPackageLines && largePackages[name] == "" {
			t.Errorf("package %s has %d lines, more than %d", name, lines, maxPackageLines)
		}
	}
}

func parse(t *testing.T, file string) *ast.File {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func checkFunctions(t *testing.T, pkg, file string) {
	t.Helper()
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, decl := range f.Decls {
		fn, ok := decl.(*ast.FuncDecl)
		if !ok || fn.Body == nil {
			continue
		}
		n := set.Position(fn.End()).Line - set.Position(fn.Pos()).Line + 1
		if n > maxFunctionLines && longFunctions[pkg+"."+fn.Name.Name] == "" {
			t.Errorf("%s: function %s has %d lines, more than %d", filepath.Base(file), fn.Name.Name, n, maxFunctionLines)
		}
	}
}
