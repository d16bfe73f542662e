// Package wire is the protocol between the daemon (shim/handle) and one
// container's supervisor (shim/server), spoken over a private UNIX stream
// socket: a socketpair at birth, RunDir/shim.sock afterwards.
//
//	daemon                                  shim
//	Hello{version, min}            ──►
//	Files (descriptors) …          ──►              only before Create
//	Create{config} (descriptors)   ──►
//	                               ◄──  Hello{version, min, id, pid, started}
//	                               ◄──  Started{pid} or Error
//	Signal, Resize, Attach, Exec … ──►
//	                               ◄──  OK, Error or a typed answer, by request id
//	                               ◄──  ExecExit, Warning, Exit: events, request id 0
//
// A frame is a 12 byte header {length, type, number of descriptors, request id}
// and a payload of tagged fields. A reader skips the tags it does not know and a
// missing field has its zero value, so fields can be added without a new
// version; both sides speak the lower of their two versions, which makes a newer
// daemon understand an older shim.
//
// Everything is coded by hand: reflection would cost each shim memory that the
// budget of one supervisor does not have. Sizes are bounded on both sides; the
// decoders never panic and never allocate more than the frame's length.
package wire

// Version is the protocol this binary speaks, Min the oldest one it understands.
const (
	Version = 1
	Min     = 1
)

// Limits of one frame.
const (
	// HeaderSize is the length of a frame's header.
	HeaderSize = 12
	// MaxRequest bounds a frame to the shim: an exec's environment may be large.
	MaxRequest = 8 << 20
	// MaxResponse bounds a frame to the daemon: nothing the shim says is long.
	MaxResponse = 64 << 10
	// MaxFilesPerFrame stays below the kernel's SCM_MAX_FD (253).
	MaxFilesPerFrame = 200
	// MaxFiles bounds the descriptors that precede one Create (published ports).
	MaxFiles = 1 << 16
	// MaxText bounds an error's text.
	MaxText = 8 << 10
)
