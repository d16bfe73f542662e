package client

import (
	"encoding"
	"encoding/json"
	"reflect"
	"strings"
)

// Compact is a value that is sent as JSON without its fields of no value. For a
// daemon they say the same, and encoding/json would first prepare an encoder for
// every type below the value: for a container's configuration that takes longer
// than all the rest of the request.
type Compact struct{ Value any }

// MarshalJSON encodes the value; see Compact for what is left out.
func (c Compact) MarshalJSON() ([]byte, error) { return appendCompact(nil, reflect.ValueOf(c.Value)) }

var (
	jsonMarshaler = reflect.TypeFor[json.Marshaler]()
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
)

func appendCompact(b []byte, v reflect.Value) ([]byte, error) {
	for v.Kind() == reflect.Pointer && !v.IsNil() && !encodesItself(v.Type()) {
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct || encodesItself(v.Type()) || encodesItself(reflect.PointerTo(v.Type())) {
		text, err := json.Marshal(v.Interface())
		return append(b, text...), err
	}
	b = append(b, '{')
	start := len(b)
	b, err := appendFields(b, v)
	if err != nil {
		return nil, err
	}
	if len(b) > start {
		b = b[:len(b)-1] // the last comma
	}
	return append(b, '}'), nil
}

func encodesItself(t reflect.Type) bool {
	return t.Implements(jsonMarshaler) || t.Implements(textMarshaler)
}

// appendFields appends "name":value, for each exported field that has a value, and
// those of embedded structs in their place.
func appendFields(b []byte, v reflect.Value) ([]byte, error) {
	t := v.Type()
	for i := range t.NumField() {
		field, value := t.Field(i), v.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if !field.IsExported() && !field.Anonymous || name == "-" || value.IsZero() {
			continue
		}
		var err error
		if inner := reflect.Indirect(value); field.Anonymous && name == "" && inner.Kind() == reflect.Struct {
			if b, err = appendFields(b, inner); err != nil {
				return nil, err
			}
			continue
		}
		if name == "" {
			name = field.Name
		}
		b = append(append(append(b, '"'), name...), '"', ':')
		if b, err = appendCompact(b, value); err != nil {
			return nil, err
		}
		b = append(b, ',')
	}
	return b, nil
}
