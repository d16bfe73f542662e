package format

import (
	"reflect"
	"strings"
)

// plain finds the columns of a template that is nothing but fields of text with
// tabs between, as all default tables are. They need no template, which takes
// longer than everything else for a list of hundreds.
func plain(text string, rows []Row) (columns []string, methods []int, ok bool) {
	for column := range strings.SplitSeq(text, "\t") {
		name, found := strings.CutPrefix(column, "{{.")
		name, closed := strings.CutSuffix(name, "}}")
		if !found || !closed || name == "" || strings.ContainsAny(name, ". {}|\"") {
			return nil, nil, false
		}
		columns = append(columns, name)
	}
	if len(rows) == 0 {
		return columns, nil, true
	}
	t := reflect.TypeOf(rows[0])
	for _, name := range columns {
		m, found := t.MethodByName(name)
		if !found || m.Type.NumIn() != 1 || m.Type.NumOut() != 1 || m.Type.Out(0).Kind() != reflect.String {
			return nil, nil, false
		}
		methods = append(methods, m.Index)
	}
	for _, row := range rows {
		if reflect.TypeOf(row) != t {
			return nil, nil, false
		}
	}
	return columns, methods, true
}

// Fielder is a row that gives the text of its fields without reflection.
type Fielder interface {
	// Field is what the method of this name returns; ok is false for a field
	// that only the method has.
	Field(name string) (text string, ok bool)
}

// appendRow appends the fields of a row, with tabs between and a newline.
func appendRow(b []byte, row Row, columns []string, methods []int) []byte {
	quick, isQuick := row.(Fielder)
	var v reflect.Value
	for i, name := range columns {
		if i > 0 {
			b = append(b, '\t')
		}
		if isQuick {
			if text, ok := quick.Field(name); ok {
				b = append(b, text...)
				continue
			}
		}
		if !v.IsValid() {
			v = reflect.ValueOf(row)
		}
		b = append(b, v.Method(methods[i]).Call(nil)[0].String()...)
	}
	return append(b, '\n')
}
