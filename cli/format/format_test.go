package format

import (
	"strings"
	"testing"
)

type ship struct{ name string }

func (*ship) Row()           {}
func (s *ship) Name() string { return s.name }
func (*ship) Masts() int     { return 2 }

func TestWrite(t *testing.T) {
	list := &List{Table: "{{.Name}}\t{{.Masts}}", Quiet: "{{.Name}}", Headers: map[string]string{"Name": "NAME", "Masts": "MASTS"}}
	for _, tt := range []struct{ format, want, err string }{
		{format: "", want: "NAME       MASTS\nred-sail   2\n"},
		{format: "{{title .Name}} {{title \"o'neill 3rd x_y\"}}", want: "Red-Sail O'Neill 3rd X_y\n"},
		{format: "table {{json .}}", want: "\n" + `{"Masts":2,"Name":"red-sail"}` + "\n"},
		{format: "table {{json .Name}}", want: "NAME\n" + `"red-sail"` + "\n"},
		{format: "{{.Sails}}", err: "(the fields are Masts, Name)"},
		{format: "{{.Name.Length}}", err: "can't evaluate field Length"},
	} {
		t.Run(tt.format, func(t *testing.T) {
			var out strings.Builder
			err := list.Write(&out, tt.format, false, []Row{&ship{"red-sail"}})
			switch {
			case tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)):
				t.Errorf("error %v, want one with %q", err, tt.err)
			case tt.err == "" && (err != nil || out.String() != tt.want):
				t.Errorf("got %q (%v), want %q", out.String(), err, tt.want)
			}
		})
	}
}
