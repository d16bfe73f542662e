package prune

import (
	"reflect"
	"testing"

	"github.com/sampan-containers/sampan/cli/client"
)

func TestConfiguredFilters(t *testing.T) {
	configured := []string{"label=keep", "label!=drop", "until=24h", "nonsense"}
	for _, tc := range []struct {
		name  string
		given []string
		want  client.Filters
	}{
		{"alone", nil, client.Filters{"label": {"keep": true}, "label!": {"drop": true}, "until": {"24h": true}}},
		{"with others", []string{"label=x"}, client.Filters{"label": {"keep": true, "x": true}, "label!": {"drop": true}, "until": {"24h": true}}},
		{"the opposite wins", []string{"label!=keep", "label=drop"}, client.Filters{"label": {"drop": true}, "label!": {"keep": true}, "until": {"24h": true}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var o Options
			for _, text := range tc.given {
				if err := o.filters.Set(text); err != nil {
					t.Fatal(err)
				}
			}
			if err := o.join(configured); err != nil || !reflect.DeepEqual(o.Filters(), tc.want) {
				t.Errorf("got %v, %v, want %v", o.Filters(), err, tc.want)
			}
		})
	}
}
