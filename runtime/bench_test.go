package runtime

import (
	"testing"

	"github.com/sampan-containers/sampan/runtime/launch"
)

// BenchmarkLaunch is a container of the default specification from nothing to the end
// of its program, in process.
func BenchmarkLaunch(b *testing.B) {
	for _, withTemplate := range []bool{true, false} {
		name := "fresh"
		if withTemplate {
			name = "template"
		}
		b.Run(name, func(b *testing.B) {
			l := newLab(b)
			spec := l.spec("/bin/true")
			s := &LaunchSpec{ID: l.id(), Spec: spec, Bundle: l.dir}
			if withTemplate {
				t, err := NewTemplate()
				if err != nil {
					b.Fatal(err)
				}
				defer t.Close()
				s.Template = t
			}
			for b.Loop() {
				c, err := Launch(s)
				if err != nil {
					b.Fatal(err)
				}
				launch.Reap(c.Pid)
				if err := c.Destroy(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
