package app

import (
	"errors"
	"testing"

	"github.com/spf13/pflag"
)

func TestTrust(t *testing.T) {
	for _, tt := range []struct {
		env     string
		args    []string
		refused bool
	}{
		{"", nil, false},
		{"", []string{"--disable-content-trust=false"}, true},
		{"0", nil, false},
		{"false", nil, false},
		{"1", nil, true},
		{"enabled", nil, true},
		{"1", []string{"--disable-content-trust"}, false},
	} {
		t.Setenv(trustVariable, tt.env)
		fs := pflag.NewFlagSet("pull", pflag.ContinueOnError)
		var trust Trust
		trust.Register(fs)
		if err := fs.Parse(tt.args); err != nil {
			t.Fatal(err)
		}
		if err := trust.Check(); errors.Is(err, ErrUnsupported) != tt.refused {
			t.Errorf("%s=%q %v: %v", trustVariable, tt.env, tt.args, err)
		}
	}
}
