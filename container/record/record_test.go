package record

import (
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
)

func TestTransitions(t *testing.T) {
	states := []container.ContainerState{container.StateCreated, container.StateRunning, container.StatePaused, container.StateRestarting,
		container.StateRemoving, container.StateExited, container.StateDead}
	for _, from := range states {
		if len(transitions[from]) == 0 {
			t.Errorf("nothing follows %s", from)
		}
	}
	for _, tt := range []struct {
		from, to container.ContainerState
		want     bool
	}{
		{container.StateCreated, container.StateRunning, true},
		{container.StateCreated, container.StateExited, false},
		{container.StateRunning, container.StateExited, true},
		{container.StateRunning, container.StateRemoving, false},
		{container.StateRunning, container.StateCreated, false},
		{container.StatePaused, container.StateRemoving, false},
		{container.StateRestarting, container.StateRemoving, true},
		{container.StateExited, container.StateRunning, true},
		{container.StateRemoving, container.StateRunning, false},
		{container.StateRemoving, container.StateDead, true},
		{container.StateDead, container.StateRunning, false},
		{container.StateDead, container.StateRemoving, true},
	} {
		if got := Allowed(tt.from, tt.to); got != tt.want {
			t.Errorf("%s to %s: %v, want %v", tt.from, tt.to, got, tt.want)
		}
	}
}

func TestPolicies(t *testing.T) {
	started := State{StartedAt: time.Now()}
	for _, tt := range []struct {
		policy       container.RestartPolicy
		state        State
		code         int
		after, atNew bool
	}{
		{container.RestartPolicy{Name: "no"}, started, 1, false, false},
		{container.RestartPolicy{Name: "always"}, started, 0, true, true},
		{container.RestartPolicy{Name: "always"}, State{}, 0, true, false},
		{container.RestartPolicy{Name: "always"}, State{StartedAt: time.Now(), Stopped: true}, 0, true, true},
		{container.RestartPolicy{Name: "unless-stopped"}, started, 0, true, true},
		{container.RestartPolicy{Name: "unless-stopped"}, State{StartedAt: time.Now(), Stopped: true}, 0, true, false},
		{container.RestartPolicy{Name: "on-failure"}, started, 0, false, false},
		{container.RestartPolicy{Name: "on-failure", MaximumRetryCount: 2}, State{StartedAt: time.Now(), RestartCount: 2, ExitCode: 1}, 1, false, false},
		{container.RestartPolicy{Name: "on-failure", MaximumRetryCount: 2}, State{StartedAt: time.Now(), RestartCount: 1, ExitCode: 1}, 1, true, true},
	} {
		r := &Record{HostConfig: &container.HostConfig{RestartPolicy: tt.policy}, State: tt.state}
		if got := r.RestartsAfter(tt.code); got != tt.after {
			t.Errorf("%+v after exit %d: %v", tt.policy, tt.code, got)
		}
		if got := r.RestartsAtBoot(); got != tt.atNew {
			t.Errorf("%+v %+v at boot: %v", tt.policy, tt.state, got)
		}
	}
	backoff := time.Duration(0)
	for range 20 {
		backoff = NextBackoff(backoff, time.Second)
	}
	if backoff != LastBackoff || NextBackoff(backoff, backoffReset) != FirstBackoff {
		t.Errorf("back-off %v after 20", backoff)
	}
}
