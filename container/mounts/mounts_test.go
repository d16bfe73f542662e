package mounts

import (
	"errors"
	"testing"

	"github.com/moby/moby/api/types/container"

	"github.com/sampan-containers/sampan/fault"
)

// TestShallowReadOnly: a read-only bind of -v meant the top mount alone before
// version 1.44 of the API; --mount says for itself what it means.
func TestShallowReadOnly(t *testing.T) {
	hc := &container.HostConfig{Binds: []string{"/a:/a:ro", "/b:/b", "data:/c:ro"}}
	for _, old := range []bool{true, false} {
		list, err := Collect(&container.Config{}, hc, nil, old)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range list {
			if want := old && m.Destination == "/a"; m.ShallowReadOnly != want {
				t.Errorf("%s with shallow=%v: %v, want %v", m.Destination, old, m.ShallowReadOnly, want)
			}
		}
	}
}

func TestBinds(t *testing.T) {
	for text, want := range map[string]string{
		"/x":                    "volume  /x",
		"/a/../b:/x":            "bind /b /x",
		"data:/x:ro":            "volume data /x ro",
		"/a:/x:ro,z,rslave":     "bind /a /x ro rslave",
		"x":                     "refused",
		"/a:x":                  "refused",
		"/a:/":                  "refused",
		"/a:/x/..":              "refused",
		"/a:/x:ro:rw":           "refused",
		"/a:/x:ro,rw":           "refused",
		"/a:/x:fast":            "refused",
		"/a:/x:nocopy":          "refused",
		"data:/x:rslave":        "refused",
		"../data:/x":            "refused",
		"d:/x":                  "refused",
		":/x":                   "refused",
		"/a:/x\x00y":            "refused",
		"/../../../etc":         "volume  /etc",
		"name/with/slash:/data": "refused",
	} {
		m, err := ParseBind(text)
		got := "refused"
		if err == nil {
			name := m.Name + m.Source
			got = string(m.Type) + " " + name + " " + m.Destination
			if m.ReadOnly {
				got += " ro"
			}
			if m.Propagation != "" {
				got += " " + string(m.Propagation)
			}
		} else if !errors.Is(err, fault.Invalid) {
			t.Errorf("%q: %v has no class", text, err)
		}
		if got != want {
			t.Errorf("%q: %s, want %s (%v)", text, got, want, err)
		}
	}
}
