package ociruntime

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// noTest are fields of the schema that no configuration of these tests has, with the
// reason.
var noTest = map[string]string{
	"process.commandLine":   "another platform",
	"process.user.username": "another platform",
}

// TestZConformanceFields: every field of the JSON schema is in a configuration that one of
// the tests has run. It is
// in the last file, so that the others have run, and lists those without.
func TestZConformanceFields(t *testing.T) {
	used.Lock()
	defer used.Unlock()
	if len(used.fields) < 100 {
		t.Skip("the other tests of the package did not run")
	}
	all := schemaFields(t)
	for _, field := range all {
		if !used.fields[field] && !usedBelow(field) && noTest[field] == "" {
			t.Errorf("no test has the field %s", field)
		}
	}
	t.Logf("%d fields", len(all))
}

// usedBelow resolves the keys of maps: "*" stands for any.
func usedBelow(field string) bool {
	pattern := regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(field), `\*`, `[^.]+`) + "$")
	for f := range used.fields {
		if pattern.MatchString(f) {
			return true
		}
	}
	return false
}

// schemaFields walks the schema of config.json.
func schemaFields(t *testing.T) []string {
	t.Helper()
	w := &schema{t: t, dir: filepath.Join(specification(t), "schema"), files: map[string]any{}, found: map[string]bool{}}
	w.walk("config-schema.json", w.load("config-schema.json"), "", 0)
	var list []string
	for f := range w.found {
		for _, other := range []string{"solaris", "windows", "vm", "zos", "freebsd"} {
			if f == other || strings.HasPrefix(f, other+".") {
				f = ""
			}
		}
		if f != "" {
			list = append(list, f)
		}
	}
	slices.Sort(list)
	return list
}

type schema struct {
	t     *testing.T
	dir   string
	files map[string]any
	found map[string]bool
}

func (w *schema) load(name string) any {
	if v, ok := w.files[name]; ok {
		return v
	}
	data, err := os.ReadFile(filepath.Join(w.dir, name))
	must(w.t, err)
	var v any
	must(w.t, json.Unmarshal(data, &v))
	w.files[name] = v
	return v
}

const maxSchemaDepth = 30

func (w *schema) walk(file string, node any, path string, depth int) {
	m, ok := node.(map[string]any)
	if !ok || depth > maxSchemaDepth {
		return
	}
	if ref, ok := m["$ref"].(string); ok {
		name, pointer, _ := strings.Cut(ref, "#")
		if name == "" {
			name = file
		}
		target := w.load(name)
		for part := range strings.SplitSeq(strings.Trim(pointer, "/"), "/") {
			if part != "" {
				target = target.(map[string]any)[part]
			}
		}
		w.walk(name, target, path, depth+1)
	}
	for _, key := range []string{"allOf", "anyOf", "oneOf"} {
		if list, ok := m[key].([]any); ok {
			for _, e := range list {
				w.walk(file, e, path, depth+1)
			}
		}
	}
	w.walk(file, m["items"], path, depth+1)
	if properties, ok := m["properties"].(map[string]any); ok {
		for name, p := range properties {
			field := strings.TrimPrefix(path+"."+name, ".")
			w.found[field] = true
			w.walk(file, p, field, depth+1)
		}
	}
	for _, key := range []string{"additionalProperties", "patternProperties"} {
		if sub, ok := m[key].(map[string]any); ok {
			if key == "patternProperties" {
				for _, p := range sub {
					w.walk(file, p, path+".*", depth+1)
				}
				continue
			}
			w.walk(file, sub, path+".*", depth+1)
		}
	}
}
