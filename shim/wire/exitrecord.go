package wire

import "time"

// ExitRecord says how the container's run ended. The shim writes it to
// Config.ExitPath before it takes the cgroup away, and sends it as its last frame.
type ExitRecord struct {
	Code   int  // exit status; 128+Signal after a signal
	Signal int  // the signal that ended it, or 0
	OOM    bool // the kernel's OOM killer was in its cgroup
	At     time.Time
	Error  string // why it did not run, or what the clean-up could not remove
}

// Encode writes the fields.
func (r *ExitRecord) Encode(e *Encoder) {
	e.Int(1, int64(r.Code))
	e.Int(2, int64(r.Signal))
	e.Bool(3, r.OOM)
	e.time(4, r.At)
	if len(r.Error) > MaxText {
		r.Error = r.Error[:MaxText]
	}
	e.String(5, r.Error)
}

// DecodeExitRecord reads an ExitRecord.
func DecodeExitRecord(b []byte) (*ExitRecord, error) {
	r := &ExitRecord{}
	d := NewDecoder(b)
	for d.Next() {
		switch d.Tag() {
		case 1:
			r.Code = int(d.Int())
		case 2:
			r.Signal = int(d.Int())
		case 3:
			r.OOM = d.Bool()
		case 4:
			r.At = d.time()
		case 5:
			r.Error = d.String()
		}
	}
	return r, d.Err()
}
