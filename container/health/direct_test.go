package health

import (
	"errors"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"

	"github.com/sampan-containers/sampan/fault"
)

func TestDirectOf(t *testing.T) {
	for _, tt := range []struct {
		test []string
		want Direct
		ok   bool
	}{
		{[]string{"CMD-SHELL", "http:8080/healthz?x=1"}, Direct{true, 8080, "/healthz?x=1"}, true},
		{[]string{"CMD", "http:80"}, Direct{true, 80, "/"}, true},
		{[]string{"CMD", "tcp:5432"}, Direct{false, 5432, ""}, true},
		{[]string{"CMD", "tcp:5432", "x"}, Direct{}, false},
		{[]string{"CMD", "tcp:5432/x"}, Direct{}, false},
		{[]string{"CMD", "tcp:0"}, Direct{}, false},
		{[]string{"CMD", "tcp:65536"}, Direct{}, false},
		{[]string{"CMD", "http://localhost/"}, Direct{}, false},
		{[]string{"CMD-SHELL", "http:80/a b"}, Direct{}, false},
		{[]string{"CMD-SHELL", "http:80/a\r\nX: y"}, Direct{}, false},
		{[]string{"CMD-SHELL", "http:80/" + strings.Repeat("a", maxDirectPath)}, Direct{}, false},
		{[]string{"CMD-SHELL", "curl -f http://localhost/"}, Direct{}, false},
		{[]string{"NONE"}, Direct{}, false},
	} {
		got, ok := DirectOf(&container.Config{Healthcheck: &container.HealthConfig{Test: tt.test}})
		if ok != tt.ok || ok && got != tt.want {
			t.Errorf("%q: %+v, %v", tt.test, got, ok)
		}
	}
}

func TestParseAction(t *testing.T) {
	for text, want := range map[string]string{"": "", "none": "", "restart": "restart", "stop": "stop"} {
		if got, err := ParseAction(map[string]string{ActionLabel: text}); err != nil || got != want {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	if _, err := ParseAction(map[string]string{ActionLabel: "kill"}); !errors.Is(err, fault.Invalid) {
		t.Errorf("kill: %v", err)
	}
}

func TestCheckRefusesHalfAProbe(t *testing.T) {
	for text, refused := range map[string]bool{
		"tcp:80": false, "http:80/x": false, "tcp:80x": true, "tcp:": true, "http:0/": true, "http://localhost/": true,
		"tcp:80 || exit 1": false, "curl http://localhost/": false, "tcping 1": false,
	} {
		err := Check(&container.HealthConfig{Test: []string{"CMD-SHELL", text}})
		if refused != errors.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
