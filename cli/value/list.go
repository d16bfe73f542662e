package value

import (
	"fmt"
	"strings"
)

// List collects the values of a repeated flag, each checked and normalised.
type List struct {
	Values []string
	check  func(string) (string, error)
}

// NewList makes a list; check may be nil.
func NewList(check func(string) (string, error)) List { return List{check: check} }

// Set implements pflag.Value.
func (l *List) Set(v string) error {
	if l.check != nil {
		checked, err := l.check(v)
		if err != nil {
			return err
		}
		v = checked
	}
	l.Values = append(l.Values, v)
	return nil
}

func (l *List) String() string {
	if len(l.Values) == 0 {
		return ""
	}
	return fmt.Sprintf("%v", l.Values)
}

// Type implements pflag.Value.
func (*List) Type() string { return "list" }

// Map collects KEY=VALUE flags.
type Map struct {
	Values map[string]string
	check  func(string) (string, error)
}

// NewMap makes a map; check may be nil.
func NewMap(check func(string) (string, error)) Map {
	return Map{Values: map[string]string{}, check: check}
}

// Set implements pflag.Value.
func (m *Map) Set(v string) error {
	if m.check != nil {
		checked, err := m.check(v)
		if err != nil {
			return err
		}
		v = checked
	}
	key, val, _ := strings.Cut(v, "=")
	m.Values[key] = val
	return nil
}

func (m *Map) String() string {
	if len(m.Values) == 0 {
		return ""
	}
	return fmt.Sprintf("%v", m.Values)
}

// Type implements pflag.Value.
func (*Map) Type() string { return "map" }

// KeyValues turns KEY[=VALUE] items into a map.
func KeyValues(items []string) map[string]string {
	m := make(map[string]string, len(items))
	for _, item := range items {
		key, val, _ := strings.Cut(item, "=")
		m[key] = val
	}
	return m
}
