package format

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"text/template"
)

// Inspector prints full objects as they come: with a template one line each,
// otherwise as one JSON array at the end.
type Inspector struct {
	w       io.Writer
	tmpl    *template.Template
	objects [][]byte
	compact bool
}

// NewInspector checks the template first, so that a wrong one prints nothing.
func NewInspector(w io.Writer, format string) (*Inspector, error) {
	i := &Inspector{w: w}
	switch format {
	case "":
		return i, nil
	case "json":
		i.compact = true
		return i, nil
	}
	var err error
	i.tmpl, err = Parse(format)
	return i, err
}

// Add prints or keeps one object: its Go value for templates, and the bytes
// that the daemon sent, which may hold fields that this client does not know.
func (i *Inspector) Add(value any, raw []byte) error {
	if i.tmpl == nil {
		i.objects = append(i.objects, raw)
		return nil
	}
	var b bytes.Buffer
	err := i.tmpl.Execute(&b, value)
	if err == nil && bytes.Contains(b.Bytes(), []byte("invalid ")) {
		// An address or subnet that is not there prints as "invalid IP": what the daemon
		// sent for it is empty.
		if seen := (bytes.Buffer{}); i.executeRaw(&seen, raw) == nil {
			b = seen
		}
	} else if err != nil {
		b.Reset()
		if fallback := i.executeRaw(&b, raw); fallback != nil {
			return fmt.Errorf("template parsing error: %w", err)
		}
	}
	b.WriteByte('\n')
	_, err = b.WriteTo(i.w)
	return err
}

func (i *Inspector) executeRaw(b *bytes.Buffer, raw []byte) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return err
	}
	t, err := i.tmpl.Clone()
	if err != nil {
		return err
	}
	return t.Option("missingkey=error").Execute(b, v)
}

// Close prints the array, also an empty one: scripts parse it.
func (i *Inspector) Close() error {
	if i.tmpl != nil {
		return nil
	}
	// Joined by hand: encoding the pieces again would escape <, > and &.
	all := append([]byte("["), bytes.Join(i.objects, []byte(","))...)
	all = append(all, ']')
	var b bytes.Buffer
	var err error
	if i.compact {
		err = json.Compact(&b, all)
	} else {
		err = json.Indent(&b, all, "", "    ")
	}
	if err != nil {
		return fmt.Errorf("the daemon sent invalid JSON: %w", err)
	}
	b.WriteByte('\n')
	_, err = b.WriteTo(i.w)
	return err
}
