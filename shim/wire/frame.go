package wire

import "encoding/binary"

// Type names a frame.
type Type uint16

// The frames. Numbers are part of the protocol: never reuse one.
const (
	TypeHello         Type = 1  // both ways, first
	TypeOK            Type = 2  // answer without content
	TypeError         Type = 3  // answer: Error
	TypeFiles         Type = 4  // descriptors for the next Create
	TypeCreate        Type = 5  // Config
	TypeStarted       Type = 6  // answer to Create and Exec: Started
	TypeSignal        Type = 7  // Signal
	TypeResize        Type = 8  // Resize
	TypeAttach        Type = 9  // Attach, with one descriptor
	TypeCloseStdin    Type = 10 // Target
	TypeExec          Type = 11 // Exec, with one descriptor if it is attached
	TypeExecState     Type = 12 // Target
	TypeExecWait      Type = 13 // Target; answered when the exec has ended
	TypeExecStatus    Type = 14 // answer: ExecStatus
	TypeNamespace     Type = 15 // Namespace
	TypeNamespaceFile Type = 16 // answer, with one descriptor
	TypeExit          Type = 17 // event: ExitRecord; the last frame
	TypeExecExit      Type = 18 // event: ExecStatus
	TypeWarning       Type = 19 // event: Warning
	TypeControl       Type = 21 // Control
	TypePort          Type = 22 // Port; with a descriptor: publish it, without: end it
	TypeRetarget      Type = 23 // Port; its relay goes to another address of the container
	TypeKeep          Type = 20 // Target naming a descriptor; with it: keep it, without: close it
)

// Header precedes every payload.
type Header struct {
	Length  uint32 // of the payload
	Type    Type
	Files   uint16 // descriptors that come with the frame's first byte
	Request uint32 // chosen by the daemon, repeated in the answer; 0 = event
}

// Payload is a message that can write its fields.
type Payload interface{ Encode(*Encoder) }

// Append adds one frame to dst. A nil payload makes an empty one.
func Append(dst []byte, typ Type, request uint32, files int, p Payload) []byte {
	start := len(dst)
	dst = append(dst, make([]byte, HeaderSize)...)
	e := Encoder{buf: dst}
	if p != nil {
		p.Encode(&e)
	}
	h := e.buf[start:]
	binary.LittleEndian.PutUint32(h, uint32(len(h)-HeaderSize))
	binary.LittleEndian.PutUint16(h[4:], uint16(typ))
	binary.LittleEndian.PutUint16(h[6:], uint16(files))
	binary.LittleEndian.PutUint32(h[8:], request)
	return e.buf
}

// ParseHeader reads a header; b must hold HeaderSize bytes, limit bounds the
// payload's length.
func ParseHeader(b []byte, limit uint32) (Header, error) {
	h := Header{
		Length:  binary.LittleEndian.Uint32(b),
		Type:    Type(binary.LittleEndian.Uint16(b[4:])),
		Files:   binary.LittleEndian.Uint16(b[6:]),
		Request: binary.LittleEndian.Uint32(b[8:]),
	}
	if h.Length > limit || h.Files > MaxFilesPerFrame {
		return Header{}, ErrMalformed
	}
	return h, nil
}
