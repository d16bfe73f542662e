package record

import "time"

// The back-off of restarts doubles from the first to the last value.
const (
	FirstBackoff = 100 * time.Millisecond
	LastBackoff  = time.Minute
	// backoffReset is how long a container must have run for it to start anew.
	backoffReset = 10 * time.Second
)

// RestartsAfter tells whether the policy starts a container again after an exit
// that no user asked for.
func (r *Record) RestartsAfter(code int) bool {
	p := r.HostConfig.RestartPolicy
	switch {
	case p.IsAlways(), p.IsUnlessStopped():
		return true
	case p.IsOnFailure():
		return code != 0 && (p.MaximumRetryCount == 0 || r.State.RestartCount < p.MaximumRetryCount)
	}
	return false
}

// RestartsAtBoot tells whether a new daemon starts a container that does not run.
func (r *Record) RestartsAtBoot() bool {
	p := r.HostConfig.RestartPolicy
	switch {
	case r.State.StartedAt.IsZero():
		return false // created, never started
	case p.IsAlways():
		return true
	case p.IsUnlessStopped():
		return !r.State.Stopped
	case p.IsOnFailure():
		return !r.State.Stopped && r.State.ExitCode != 0 && (p.MaximumRetryCount == 0 || r.State.RestartCount < p.MaximumRetryCount)
	}
	return false
}

// NextBackoff is the wait before the next restart of a container that ran so long.
func NextBackoff(last, ran time.Duration) time.Duration {
	if last == 0 || ran >= backoffReset {
		return FirstBackoff
	}
	return min(2*last, LastBackoff)
}
