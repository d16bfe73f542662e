// Package format prints lists and objects: aligned tables, Docker's Go
// templates and JSON.
//
// A list is a slice of rows. A row is a pointer whose exported methods without
// arguments are its fields: {{.ID}} calls ID, and {{json .}} encodes all of
// them. The words before the rows are the same template run over the headers.
package format

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
	"text/tabwriter"
	"text/template"
	"unicode"
)

// Docker's column geometry.
const (
	minWidth = 10
	tabWidth = 1
	padding  = 3

	outBuffer = 64 << 10
)

// Row marks the type of a list's rows; the method does nothing.
type Row interface{ Row() }

// List describes one kind of list.
type List struct {
	// Table is the default table, as a template: "{{.ID}}\t{{.Name}}".
	Table string
	// Quiet is what -q prints for a row.
	Quiet string
	// Headers has the column title of each field.
	Headers map[string]string
}

// Write prints rows. The format is that of the --format flag: empty or "table"
// for the default table, "table TEMPLATE", "json", or a template.
func (l *List) Write(w io.Writer, format string, quiet bool, rows []Row) error {
	text, table := l.template(format, quiet)
	if columns, methods, ok := plain(text, rows); ok {
		return l.writePlain(w, table, rows, columns, methods)
	}
	tmpl, err := Parse(text)
	if err != nil {
		return err
	}
	var body bytes.Buffer
	for _, row := range rows {
		if err := tmpl.Execute(&body, row); err != nil {
			return fmt.Errorf("template parsing error: %w%s", err, choices(err, row))
		}
		body.WriteByte('\n')
	}
	if !table {
		_, err := body.WriteTo(w)
		return err
	}
	out := bufio.NewWriterSize(w, outBuffer)
	tw := tabwriter.NewWriter(out, minWidth, tabWidth, padding, ' ', 0)
	head, err := template.New("").Funcs(headerFuncs()).Parse(text)
	if err != nil {
		return fmt.Errorf("template parsing error: %w", err)
	}
	if err := head.Execute(tw, titles(l.Headers)); err != nil {
		return fmt.Errorf("template parsing error: %w", err)
	}
	fmt.Fprintln(tw)
	if _, err := body.WriteTo(tw); err != nil {
		return err
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	return out.Flush()
}

func (l *List) writePlain(w io.Writer, table bool, rows []Row, columns []string, methods []int) error {
	var text []byte
	if table {
		for i, name := range columns {
			if i > 0 {
				text = append(text, '\t')
			}
			title, ok := l.Headers[name]
			if !ok {
				title = "<no value>" // as a template says it
			}
			text = append(text, title...)
		}
		text = append(text, '\n')
	}
	for _, row := range rows {
		text = appendRow(text, row, columns, methods)
	}
	if !table {
		_, err := w.Write(text)
		return err
	}
	out := bufio.NewWriterSize(w, outBuffer) // tabwriter writes each cell by itself
	tw := tabwriter.NewWriter(out, minWidth, tabWidth, padding, ' ', 0)
	if _, err := tw.Write(text); err != nil {
		return err
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	return out.Flush()
}

func (l *List) template(format string, quiet bool) (text string, table bool) {
	format = strings.TrimSpace(format)
	switch {
	case quiet && (format == "" || format == "table"):
		return l.Quiet, false
	case format == "" || format == "table":
		return l.Table, true
	case format == "json":
		return "{{json .}}", false
	case strings.HasPrefix(format, "table "):
		return unescape(strings.TrimSpace(strings.TrimPrefix(format, "table "))), true
	}
	return unescape(format), false
}

// unescape gives shells a way to write tabs and newlines.
func unescape(s string) string { return strings.NewReplacer(`\t`, "\t", `\n`, "\n").Replace(s) }

// Parse makes a template with Docker's functions; "json" alone prints all.
func Parse(text string) (*template.Template, error) {
	if text == "json" {
		text = "{{json .}}"
	}
	t, err := template.New("").Funcs(funcs()).Parse(text)
	if err != nil {
		return nil, fmt.Errorf("template parsing error: %w", err)
	}
	return t, nil
}

// titles answers a template's fields with column titles.
type titles map[string]string

// Label is the title of the column {{.Label "com.example.some-key"}}.
func (titles) Label(name string) string {
	name = name[strings.LastIndex(name, ".")+1:]
	return strings.NewReplacer("-", " ", "_", " ").Replace(name)
}

// choices lists the fields of a row to who asked for another.
func choices(err error, row Row) string {
	if !strings.Contains(err.Error(), "can't evaluate field") {
		return ""
	}
	return " (the fields are " + strings.Join(slices.Sorted(maps.Keys(fields(row))), ", ") + ")"
}

func headerFuncs() template.FuncMap {
	same := func(s string) string { return s }
	return template.FuncMap{
		// A whole row has no title, one field has.
		"json":  func(v any) string { s, _ := v.(string); return s },
		"title": same, "lower": same, "upper": same,
		"truncate": func(s string, _ int) string { return s },
		"split":    func(s, _ string) string { return s },
		"join":     func(s, _ string) string { return s },
		"pad":      pad,
	}
}

func funcs() template.FuncMap {
	return template.FuncMap{
		"json":     encode,
		"split":    strings.Split,
		"join":     join,
		"title":    title,
		"lower":    strings.ToLower,
		"upper":    strings.ToUpper,
		"pad":      pad,
		"truncate": truncate,
	}
}

func encode(v any) (string, error) {
	if row, ok := v.(Row); ok {
		v = fields(row)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return "", err
	}
	return strings.TrimSpace(b.String()), nil
}

// fields collects the values of a row's methods.
func fields(row Row) map[string]any {
	v := reflect.ValueOf(row)
	out := map[string]any{}
	for i := range v.NumMethod() {
		m := v.Method(i)
		if m.Type().NumIn() == 0 && m.Type().NumOut() == 1 {
			out[v.Type().Method(i).Name] = m.Call(nil)[0].Interface()
		}
	}
	return out
}

func join(items []string, sep string) string { return strings.Join(items, sep) }

// title makes the first letter of each word a capital one. A word is of
// letters, digits and underscores.
func title(s string) string {
	before := ' '
	return strings.Map(func(r rune) rune {
		first := before != '_' && !unicode.IsLetter(before) && !unicode.IsDigit(before)
		before = r
		if first {
			return unicode.ToTitle(r)
		}
		return r
	}, s)
}

func pad(s string, before, after int) string {
	if s == "" {
		return s
	}
	return strings.Repeat(" ", max(before, 0)) + s + strings.Repeat(" ", max(after, 0))
}

func truncate(s string, n int) string {
	if n >= 0 && len(s) > n {
		return s[:n]
	}
	return s
}
