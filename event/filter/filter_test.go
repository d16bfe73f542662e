package filter

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/sampan-containers/sampan/fault"
)

func TestParse(t *testing.T) {
	cases := []struct {
		name, text string
		want       Args
		bad        bool
	}{
		{"absent", "", nil, false},
		{"today's form", `{"name":{"b":true,"a":true},"label":{"x=y":true}}`, Args{"name": {"a", "b"}, "label": {"x=y"}}, false},
		{"older form", `{"name":["b","a","b"]}`, Args{"name": {"a", "b"}}, false},
		// Docker takes the key, whatever its value is.
		{"false counts", `{"name":{"a":false}}`, Args{"name": {"a"}}, false},
		{"empty object", `{}`, Args{}, false},
		{"garbage", `garbage`, nil, true},
		{"a list", `["a"]`, nil, true},
		{"a number as value", `{"name":5}`, nil, true},
		{"numbers in the list", `{"name":[5]}`, nil, true},
		{"half", `{"name":`, nil, true},
		{"too long", `{"name":["` + strings.Repeat("a", MaxBytes) + `"]}`, nil, true},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			got, err := Parse(tc.text)
			if tc.bad {
				if !errors.Is(err, fault.Invalid) {
					t.Fatalf("error %v, want invalid", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !maps.EqualFunc(got, tc.want, slices.Equal[[]string]) {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

func TestEvaluate(t *testing.T) {
	f := Args{"id": {"abc"}, "name": {"^web-[0-9]+$", "("}, "label": {"a", "b=1"}, "yes": {"1"}, "no": {"false"}, "both": {"true", "0"}, "odd": {"maybe"}}
	for name, ok := range map[string]bool{
		"absent term matches":        f.Exact("none", "x") && f.Prefix("none", "x") && f.Match("none", "x") && f.Labels("none", nil),
		"exact":                      f.Exact("id", "abc") && !f.Exact("id", "abcd"),
		"prefix":                     f.Prefix("id", "abcd") && !f.Prefix("id", "xabc"),
		"regular expression":         f.Match("name", "web-12") && !f.Match("name", "web-x"),
		"a bad one matches itself":   f.Match("name", "("),
		"labels":                     f.Labels("label", map[string]string{"a": "", "b": "1"}),
		"a label's value counts":     !f.Labels("label", map[string]string{"a": "", "b": "2"}),
		"a missing label counts":     !f.Labels("label", map[string]string{"b": "1"}),
		"validate accepts":           f.Validate("id", "name", "label", "yes", "no", "both", "odd") == nil,
		"validate refuses the rest":  errors.Is(f.Validate("id"), fault.Invalid),
		"the nil filter is harmless": Args(nil).Exact("x", "y") && !Args(nil).Has("x") && Args(nil).Validate() == nil,
	} {
		if !ok {
			t.Error(name)
		}
	}
	for term, want := range map[string]bool{"yes": true, "no": false, "none": true} {
		if got, err := f.Bool(term, true); err != nil || got != want {
			t.Errorf("Bool(%s) = %v, %v", term, got, err)
		}
	}
	for _, term := range []string{"both", "odd"} {
		if _, err := f.Bool(term, true); !errors.Is(err, fault.Invalid) {
			t.Errorf("Bool(%s): %v", term, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"", "{}", `{"a":{"b":true}}`, `{"a":["b"]}`, `[`, `{"a":{"b":1}}`, strings.Repeat(`{"a":`, 100)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		args, err := Parse(text)
		if err != nil {
			if !errors.Is(err, fault.Invalid) || args != nil {
				t.Fatalf("Parse(%q) = %v, %v", text, args, err)
			}
			return
		}
		for term, values := range args {
			if !slices.IsSorted(values) {
				t.Fatalf("values of %q are not sorted: %q", term, values)
			}
			for _, v := range values {
				if !args.Exact(term, v) || !args.Prefix(term, v) || !args.Match(term, v) {
					t.Fatalf("%q does not match its own value %q", term, v)
				}
			}
		}
	})
}
