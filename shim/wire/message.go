package wire

import "time"

// Hello is the first frame of each side.
type Hello struct {
	Version, Min uint32
	// Set by the shim only; Pid is 0 before the container's start.
	ID        string
	Pid       uint32
	StartedAt time.Time
	ShimPid   uint32
}

// Encode writes the fields.
func (h *Hello) Encode(e *Encoder) {
	e.Uint(1, uint64(h.Version))
	e.Uint(2, uint64(h.Min))
	e.String(3, h.ID)
	e.Uint(4, uint64(h.Pid))
	e.time(5, h.StartedAt)
	e.Uint(6, uint64(h.ShimPid))
}

// DecodeHello reads a Hello.
func DecodeHello(b []byte) (*Hello, error) {
	h := &Hello{}
	d := NewDecoder(b)
	for d.Next() {
		switch d.Tag() {
		case 1:
			h.Version = d.Uint32()
		case 2:
			h.Min = d.Uint32()
		case 3:
			h.ID = d.String()
		case 4:
			h.Pid = d.Uint32()
		case 5:
			h.StartedAt = d.time()
		case 6:
			h.ShimPid = d.Uint32()
		}
	}
	return h, d.Err()
}

// Speaks tells whether two sides understand each other, and in which version.
func (h *Hello) Speaks(version, min uint32) (uint32, bool) {
	common := h.Version
	if version < common {
		common = version
	}
	return common, common >= min && common >= h.Min
}

// Code classes an Error for the daemon.
type Code uint32

// The codes. Unknown ones count as CodeFailed.
const (
	CodeFailed        Code = 0
	CodeNotFound      Code = 1 // runtime.ErrNotFound: exit status 127
	CodeNotExecutable Code = 2 // runtime.ErrNotExecutable: exit status 126
	CodeNoSuchExec    Code = 3
	CodeNotRunning    Code = 4 // the process has ended
	CodeInvalid       Code = 5
	CodeExhausted     Code = 6 // a limit on clients or execs
)

// Error is an answer that says why not, in one sentence.
type Error struct {
	Code Code
	Text string
}

// Encode writes the fields; a long text is cut.
func (m *Error) Encode(e *Encoder) {
	e.Uint(1, uint64(m.Code))
	if len(m.Text) > MaxText {
		m.Text = m.Text[:MaxText]
	}
	e.String(2, m.Text)
}

// DecodeError reads an Error.
func DecodeError(b []byte) (*Error, error) {
	m := &Error{}
	d := NewDecoder(b)
	for d.Next() {
		switch d.Tag() {
		case 1:
			m.Code = Code(d.Uint32())
		case 2:
			m.Text = d.String()
		}
	}
	return m, d.Err()
}

// Started answers Create and Exec.
type Started struct {
	Pid uint32
	At  time.Time
}

// Encode writes the fields.
func (m *Started) Encode(e *Encoder) { e.Uint(1, uint64(m.Pid)); e.time(2, m.At) }

// DecodeStarted reads a Started.
func DecodeStarted(b []byte) (*Started, error) {
	m := &Started{}
	d := NewDecoder(b)
	for d.Next() {
		switch d.Tag() {
		case 1:
			m.Pid = d.Uint32()
		case 2:
			m.At = d.time()
		}
	}
	return m, d.Err()
}

// Signal is sent to the container's first process, or to an exec's.
type Signal struct {
	Exec   string
	Signal uint32
}

// Encode writes the fields.
func (m *Signal) Encode(e *Encoder) { e.String(1, m.Exec); e.Uint(2, uint64(m.Signal)) }

// DecodeSignal reads a Signal.
func DecodeSignal(b []byte) (*Signal, error) {
	m := &Signal{}
	d := NewDecoder(b)
	for d.Next() {
		switch d.Tag() {
		case 1:
			m.Exec = d.String()
		case 2:
			m.Signal = d.Uint32()
		}
	}
	return m, d.Err()
}

// Resize changes the size of a terminal; Exec is empty for the container's.
type Resize struct {
	Exec          string
	Height, Width uint32
}

// Encode writes the fields.
func (m *Resize) Encode(e *Encoder) {
	e.String(1, m.Exec)
	e.Uint(2, uint64(m.Height))
	e.Uint(3, uint64(m.Width))
}

// DecodeResize reads a Resize.
func DecodeResize(b []byte) (*Resize, error) {
	m := &Resize{}
	d := NewDecoder(b)
	for d.Next() {
		switch d.Tag() {
		case 1:
			m.Exec = d.String()
		case 2:
			m.Height = d.Uint32()
		case 3:
			m.Width = d.Uint32()
		}
	}
	return m, d.Err()
}

// Target names an exec, or the container's first process when it is empty. It is
// the payload of CloseStdin, ExecState and ExecWait.
type Target struct{ Exec string }

// Encode writes the fields.
func (m *Target) Encode(e *Encoder) { e.String(1, m.Exec) }

// DecodeTarget reads a Target.
func DecodeTarget(b []byte) (*Target, error) {
	m := &Target{}
	d := NewDecoder(b)
	for d.Next() {
		if d.Tag() == 1 {
			m.Exec = d.String()
		}
	}
	return m, d.Err()
}

// Attach describes a client whose socket is handed to the shim.
type Attach struct {
	Stdin, Stdout, Stderr bool
	Mux                   bool   // frame the output with Docker's 8 byte headers
	Initial               []byte // input that arrived with the request
	DetachKeys            []byte // nil = none
	// End tells the client of the exit code in a last frame (FrameEnd) and leaves
	// it to the connection's other holders to end the stream. Needs Mux.
	End bool
}

// FrameEnd is the kind of frame, beside Docker's, whose content is the exit code of
// the process as four bytes, big end first. It is the last one of a stream.
const FrameEnd = 4

// Encode writes the fields.
func (m *Attach) Encode(e *Encoder) {
	e.Bool(1, m.Stdin)
	e.Bool(2, m.Stdout)
	e.Bool(3, m.Stderr)
	e.Bool(4, m.Mux)
	if len(m.Initial) > 0 {
		e.Raw(5, m.Initial)
	}
	if len(m.DetachKeys) > 0 {
		e.Raw(6, m.DetachKeys)
	}
	e.Bool(7, m.End)
}

// DecodeAttach reads an Attach; its byte slices share b's memory.
func DecodeAttach(b []byte) (*Attach, error) {
	m := &Attach{}
	d := NewDecoder(b)
	for d.Next() {
		switch d.Tag() {
		case 1:
			m.Stdin = d.Bool()
		case 2:
			m.Stdout = d.Bool()
		case 3:
			m.Stderr = d.Bool()
		case 4:
			m.Mux = d.Bool()
		case 5:
			m.Initial = d.Raw()
		case 6:
			m.DetachKeys = d.Raw()
		case 7:
			m.End = d.Bool()
		}
	}
	return m, d.Err()
}

// ExecStatus answers ExecState and ExecWait, and is the event ExecExit.
type ExecStatus struct {
	Exec     string
	Running  bool
	Pid      uint32
	ExitCode uint32 // of one that has ended; 128+n after signal n
}

// Encode writes the fields.
func (m *ExecStatus) Encode(e *Encoder) {
	e.String(1, m.Exec)
	e.Bool(2, m.Running)
	e.Uint(3, uint64(m.Pid))
	e.Uint(4, uint64(m.ExitCode))
}

// DecodeExecStatus reads an ExecStatus.
func DecodeExecStatus(b []byte) (*ExecStatus, error) {
	m := &ExecStatus{}
	d := NewDecoder(b)
	for d.Next() {
		switch d.Tag() {
		case 1:
			m.Exec = d.String()
		case 2:
			m.Running = d.Bool()
		case 3:
			m.Pid = d.Uint32()
		case 4:
			m.ExitCode = d.Uint32()
		}
	}
	return m, d.Err()
}

// Namespace asks for a descriptor of one of the container's namespaces; Kind is
// a type of the OCI spec ("network", "pid", "mount", …), or KindRoot.
type Namespace struct{ Kind string }

// KindRoot asks for the container's root directory (O_PATH, in its mount
// namespace). A shim that does not know it answers that there is no such
// namespace.
const KindRoot = "root"

// KindKept, followed by a name, asks for a copy of a descriptor that was given to
// the shim under that name (Config.Kept, TypeKeep).
const KindKept = "kept:"

// Encode writes the fields.
func (m *Namespace) Encode(e *Encoder) { e.String(1, m.Kind) }

// DecodeNamespace reads a Namespace.
func DecodeNamespace(b []byte) (*Namespace, error) {
	t, err := DecodeTarget(b)
	if err != nil {
		return nil, err
	}
	return &Namespace{Kind: t.Exec}, nil
}

// Control changes a container of another OCI runtime by that runtime: pause, resume,
// or update with the JSON of an OCI resources object.
type Control struct {
	Verb string
	Data []byte
}

// Encode writes the fields.
func (m *Control) Encode(e *Encoder) {
	e.String(1, m.Verb)
	if len(m.Data) > 0 {
		e.Raw(2, m.Data)
	}
}

// DecodeControl reads a Control.
func DecodeControl(b []byte) (*Control, error) {
	m := &Control{}
	d := NewDecoder(b)
	for d.Next() {
		switch d.Tag() {
		case 1:
			m.Verb = d.String()
		case 2:
			m.Data = d.Raw()
		}
	}
	return m, d.Err()
}

// Warning is an event: something was done only in part.
type Warning struct{ Text string }

// Encode writes the fields; a long text is cut.
func (m *Warning) Encode(e *Encoder) {
	if len(m.Text) > MaxText {
		m.Text = m.Text[:MaxText]
	}
	e.String(1, m.Text)
}

// DecodeWarning reads a Warning.
func DecodeWarning(b []byte) (*Warning, error) {
	t, err := DecodeTarget(b)
	if err != nil {
		return nil, err
	}
	return &Warning{Text: t.Exec}, nil
}

func (e *Encoder) time(tag uint8, t time.Time) {
	if !t.IsZero() {
		e.Int(tag, t.UnixNano())
	}
}

func (d *Decoder) time() time.Time { return time.Unix(0, d.Int()).UTC() }
