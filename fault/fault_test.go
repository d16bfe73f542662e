package fault

import (
	"errors"
	"fmt"
	"io"
	"testing"
)

func TestClassSurvivesWrapping(t *testing.T) {
	err := fmt.Errorf("remove web: %w", New(Conflict, "container %s is running: %w", "web", io.EOF))
	for _, target := range []error{Conflict, io.EOF} {
		if !errors.Is(err, target) {
			t.Errorf("errors.Is(%q, %v) = false", err, target)
		}
	}
	if errors.Is(err, NotFound) {
		t.Error("a conflict must not be a not-found")
	}
	if got := Of(err); got != Conflict {
		t.Errorf("Of = %v, want Conflict", got)
	}
	if Wrap(Invalid, nil) != nil {
		t.Error("Wrap(nil) must stay nil")
	}
	if Of(io.EOF) != nil {
		t.Error("an unclassed error has no class")
	}
	if got := Of(fmt.Errorf("x: %w", Invalid)); got != Invalid {
		t.Errorf("a bare class: Of = %v", got)
	}
}

func TestOuterClassWins(t *testing.T) {
	err := Wrap(Unavailable, New(NotFound, "no daemon"))
	if Of(err) != Unavailable {
		t.Errorf("Of = %v, want the outermost class", Of(err))
	}
}
