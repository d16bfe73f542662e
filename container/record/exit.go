package record

// Exit codes that are not the command's own, as Docker's.
const (
	ExitNotExecutable = 126 // the command cannot be executed
	ExitNotFound      = 127 // there is no such command
	ExitStartFailed   = 128 // it was never reached
	ExitKilled        = 137 // also for an end that nobody saw
)
