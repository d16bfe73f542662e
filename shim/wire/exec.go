package wire

import (
	"errors"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Exec starts a further process in the container.
type Exec struct {
	ID            string
	Process       *specs.Process
	OpenStdin     bool
	Height, Width uint32
	Attach        *Attach // one descriptor comes with the frame if set
}

// Encode writes the fields.
func (m *Exec) Encode(e *Encoder) {
	e.String(1, m.ID)
	if m.Process != nil {
		e.Message(2, func(e *Encoder) { encodeProcess(e, m.Process) })
	}
	e.Bool(3, m.OpenStdin)
	e.Uint(4, uint64(m.Height))
	e.Uint(5, uint64(m.Width))
	if m.Attach != nil {
		e.Message(6, m.Attach.Encode)
	}
}

// DecodeExec reads an Exec.
func DecodeExec(b []byte) (*Exec, error) {
	m := &Exec{}
	d := NewDecoder(b)
	for d.Next() {
		switch d.Tag() {
		case 1:
			m.ID = d.String()
		case 2:
			p, err := decodeProcess(d.Raw())
			if err != nil {
				return nil, err
			}
			m.Process = p
		case 3:
			m.OpenStdin = d.Bool()
		case 4:
			m.Height = d.Uint32()
		case 5:
			m.Width = d.Uint32()
		case 6:
			a, err := DecodeAttach(d.Raw())
			if err != nil {
				return nil, err
			}
			m.Attach = a
		}
	}
	return m, d.Err()
}

// CheckProcess refuses the fields of a process that the protocol cannot carry,
// so that none is silently lost.
func CheckProcess(p *specs.Process) error {
	switch {
	case p.Scheduler != nil:
		return errors.New("exec: the scheduler of a further process cannot be set yet")
	case p.IOPriority != nil:
		return errors.New("exec: the I/O priority of a further process cannot be set yet")
	case p.ExecCPUAffinity != nil:
		return errors.New("exec: the CPU affinity of a further process cannot be set yet")
	case p.CommandLine != "":
		return errors.New("exec: commandLine is for Windows only; give args")
	}
	return nil
}

func encodeProcess(e *Encoder, p *specs.Process) {
	e.Bool(1, p.Terminal)
	e.Uint(2, uint64(p.User.UID))
	e.Uint(3, uint64(p.User.GID))
	if p.User.Umask != nil {
		e.Uint(4, uint64(*p.User.Umask)+1)
	}
	for _, g := range p.User.AdditionalGids {
		e.Uint(5, uint64(g)+1)
	}
	e.String(6, p.User.Username)
	e.Strings(7, p.Args)
	e.Strings(8, p.Env)
	e.String(9, p.Cwd)
	if c := p.Capabilities; c != nil {
		e.Message(10, func(e *Encoder) {
			e.Strings(1, c.Bounding)
			e.Strings(2, c.Effective)
			e.Strings(3, c.Inheritable)
			e.Strings(4, c.Permitted)
			e.Strings(5, c.Ambient)
		})
	}
	for i := range p.Rlimits {
		e.Message(11, func(e *Encoder) {
			e.String(1, p.Rlimits[i].Type)
			e.Uint(2, p.Rlimits[i].Hard)
			e.Uint(3, p.Rlimits[i].Soft)
		})
	}
	e.Bool(12, p.NoNewPrivileges)
	e.String(13, p.ApparmorProfile)
	if p.OOMScoreAdj != nil {
		e.Message(14, func(e *Encoder) { e.Int(1, int64(*p.OOMScoreAdj)) })
	}
	e.String(15, p.SelinuxLabel)
}

func decodeProcess(b []byte) (*specs.Process, error) {
	p := &specs.Process{}
	d := NewDecoder(b)
	for d.Next() {
		switch d.Tag() {
		case 1:
			p.Terminal = d.Bool()
		case 2:
			p.User.UID = d.Uint32()
		case 3:
			p.User.GID = d.Uint32()
		case 4:
			v := uint32(d.Uint() - 1)
			p.User.Umask = &v
		case 5:
			p.User.AdditionalGids = append(p.User.AdditionalGids, uint32(d.Uint()-1))
		case 6:
			p.User.Username = d.String()
		case 7:
			p.Args = append(p.Args, d.String())
		case 8:
			p.Env = append(p.Env, d.String())
		case 9:
			p.Cwd = d.String()
		case 10:
			p.Capabilities = decodeCapabilities(d)
		case 11:
			p.Rlimits = append(p.Rlimits, decodeRlimit(d))
		case 12:
			p.NoNewPrivileges = d.Bool()
		case 13:
			p.ApparmorProfile = d.String()
		case 14:
			p.OOMScoreAdj = decodeInt(d)
		case 15:
			p.SelinuxLabel = d.String()
		}
	}
	return p, d.Err()
}

func decodeCapabilities(d *Decoder) *specs.LinuxCapabilities {
	c := &specs.LinuxCapabilities{}
	in := NewDecoder(d.Raw())
	for in.Next() {
		switch in.Tag() {
		case 1:
			c.Bounding = append(c.Bounding, in.String())
		case 2:
			c.Effective = append(c.Effective, in.String())
		case 3:
			c.Inheritable = append(c.Inheritable, in.String())
		case 4:
			c.Permitted = append(c.Permitted, in.String())
		case 5:
			c.Ambient = append(c.Ambient, in.String())
		}
	}
	d.inherit(in)
	return c
}

func decodeRlimit(d *Decoder) specs.POSIXRlimit {
	var r specs.POSIXRlimit
	in := NewDecoder(d.Raw())
	for in.Next() {
		switch in.Tag() {
		case 1:
			r.Type = in.String()
		case 2:
			r.Hard = in.Uint()
		case 3:
			r.Soft = in.Uint()
		}
	}
	d.inherit(in)
	return r
}

func decodeInt(d *Decoder) *int {
	v := 0
	in := NewDecoder(d.Raw())
	for in.Next() {
		if in.Tag() == 1 {
			v = int(in.Int())
		}
	}
	d.inherit(in)
	return &v
}
