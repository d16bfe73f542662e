package wire

import (
	"net/netip"
)

// Config describes one run of a container to its shim. Everything the shim needs
// comes in it and in RunDir/config.json, the OCI spec.
type Config struct {
	ID     string
	RunDir string // 0700, on tmpfs; holds config.json and shim.sock
	// Runtime is the program of another OCI runtime that makes the container, with
	// RuntimeArgs before its commands; empty: the shim does it itself.
	Runtime     string
	RuntimeArgs []string
	// Overlay is the root file system; nil takes root.path of the spec.
	Overlay *Overlay
	Log     LogConfig
	// ExitPath receives the exit record; with ExitSync it is on disk before the
	// shim takes anything away (left out for --rm, where nobody asks later).
	ExitPath string
	ExitSync bool

	Terminal  bool
	OpenStdin bool // keep stdin open without a client (docker's -i)
	StdinOnce bool // close it when the first client's input ends

	Height, Width uint32 // initial size of the terminal; 0 = unset

	Ports []Port
	// Template tells that the first descriptor is a mount namespace for
	// runtime.LaunchSpec.Template, NetNS that the next is the network namespace.
	Template, NetNS bool
	// Namespaces are kinds as in the OCI spec ("ipc", "pid", …), one descriptor
	// each, in this order, after NetNS.
	Namespaces []string
	// Kept names descriptors that the shim holds for the daemon, one each, after
	// the sockets of Ports.
	Kept []string
	// Filter is the container's seccomp filter (seccomp.Filter.Encode), compiled from
	// a profile that is not in config.json then; empty: what config.json says.
	Filter []byte
	// Checkpoint is the directory of the images that the container is restored from
	// instead of being started.
	Checkpoint string
	// Attach are clients present from the first byte on, one descriptor each,
	// after those.
	Attach []Attach
}

// Overlay is a root made of layers, top first, with an upper directory.
type Overlay struct {
	Lower       []string
	Upper, Work string
	ReadOnly    bool
}

// LogConfig says where the container's output is recorded.
type LogConfig struct {
	Driver   string // "json-file", "local" or "none"
	Path     string
	MaxSize  int64 // bytes of one file; 0 = 20 MB, < 0 = no limit
	MaxFiles int   // files kept, with the current one; 0 = 5
	// Attrs go into every entry (labels and environment chosen by the user).
	Attrs map[string]string
	// Compress tells that the daemon replaces old files by compressed ones.
	Compress bool
}

// Port is one published port. Its listening socket travels beside it when it has
// Socket set; the shim holds it for the container's life.
type Port struct {
	Proto         string
	HostIP        netip.Addr
	HostPort      uint16
	ContainerIP   netip.Addr
	ContainerPort uint16
	Splice        bool // accept here and copy to the container: [::1], which no rule can translate
	Socket        bool // a descriptor travels with this port
}

// Encode writes the fields.
func (c *Config) Encode(e *Encoder) {
	e.String(1, c.ID)
	e.String(2, c.RunDir)
	if o := c.Overlay; o != nil {
		e.Message(3, func(e *Encoder) {
			e.Strings(1, o.Lower)
			e.String(2, o.Upper)
			e.String(3, o.Work)
			e.Bool(4, o.ReadOnly)
		})
	}
	e.Message(4, c.Log.encode)
	e.String(5, c.ExitPath)
	e.Bool(6, c.ExitSync)
	e.Bool(7, c.Terminal)
	e.Bool(8, c.OpenStdin)
	e.Bool(9, c.StdinOnce)
	e.Uint(10, uint64(c.Height))
	e.Uint(11, uint64(c.Width))
	for i := range c.Ports {
		e.Message(12, c.Ports[i].encode)
	}
	e.Bool(13, c.NetNS)
	e.Strings(14, c.Namespaces)
	for i := range c.Attach {
		e.Message(15, c.Attach[i].Encode)
	}
	e.Bool(16, c.Template)
	e.Strings(17, c.Kept)
	e.String(18, c.Runtime)
	e.Strings(19, c.RuntimeArgs)
	if len(c.Filter) > 0 {
		e.Raw(20, c.Filter)
	}
	e.String(21, c.Checkpoint)
}

// DecodeConfig reads a Config.
func DecodeConfig(b []byte) (*Config, error) {
	c := &Config{}
	d := NewDecoder(b)
	for d.Next() {
		switch d.Tag() {
		case 1:
			c.ID = d.String()
		case 2:
			c.RunDir = d.String()
		case 3:
			c.Overlay = decodeOverlay(d)
		case 4:
			c.Log = decodeLog(d)
		case 5:
			c.ExitPath = d.String()
		case 6:
			c.ExitSync = d.Bool()
		case 7:
			c.Terminal = d.Bool()
		case 8:
			c.OpenStdin = d.Bool()
		case 9:
			c.StdinOnce = d.Bool()
		case 10:
			c.Height = d.Uint32()
		case 11:
			c.Width = d.Uint32()
		case 12:
			c.Ports = append(c.Ports, decodePort(d))
		case 13:
			c.NetNS = d.Bool()
		case 14:
			c.Namespaces = append(c.Namespaces, d.String())
		case 15:
			a, err := DecodeAttach(d.Raw())
			if err != nil {
				return nil, err
			}
			c.Attach = append(c.Attach, *a)
		case 16:
			c.Template = d.Bool()
		case 18:
			c.Runtime = d.String()
		case 19:
			c.RuntimeArgs = append(c.RuntimeArgs, d.String())
		case 20:
			c.Filter = d.Raw()
		case 21:
			c.Checkpoint = d.String()
		case 17:
			c.Kept = append(c.Kept, d.String())
		}
	}
	return c, d.Err()
}

func decodeOverlay(d *Decoder) *Overlay {
	o := &Overlay{}
	in := NewDecoder(d.Raw())
	for in.Next() {
		switch in.Tag() {
		case 1:
			o.Lower = append(o.Lower, in.String())
		case 2:
			o.Upper = in.String()
		case 3:
			o.Work = in.String()
		case 4:
			o.ReadOnly = in.Bool()
		}
	}
	d.inherit(in)
	return o
}

func (l *LogConfig) encode(e *Encoder) {
	e.String(1, l.Driver)
	e.String(2, l.Path)
	e.Int(3, l.MaxSize)
	e.Int(4, int64(l.MaxFiles))
	for k, v := range l.Attrs {
		e.Message(5, func(e *Encoder) { e.String(1, k); e.String(2, v) })
	}
	e.Bool(6, l.Compress)
}

func decodeLog(d *Decoder) LogConfig {
	var l LogConfig
	in := NewDecoder(d.Raw())
	for in.Next() {
		switch in.Tag() {
		case 1:
			l.Driver = in.String()
		case 2:
			l.Path = in.String()
		case 3:
			l.MaxSize = in.Int()
		case 4:
			l.MaxFiles = int(in.Int())
		case 5:
			var k, v string
			pair := NewDecoder(in.Raw())
			for pair.Next() {
				switch pair.Tag() {
				case 1:
					k = pair.String()
				case 2:
					v = pair.String()
				}
			}
			in.inherit(pair)
			if l.Attrs == nil {
				l.Attrs = map[string]string{}
			}
			l.Attrs[k] = v
		case 6:
			l.Compress = in.Bool()
		}
	}
	d.inherit(in)
	return l
}

// Encode writes the fields.
func (p *Port) Encode(e *Encoder) { p.encode(e) }

// DecodePort reads a Port.
func DecodePort(b []byte) (*Port, error) {
	d := NewDecoder(b)
	p := readPort(d)
	return &p, d.Err()
}

func (p *Port) encode(e *Encoder) {
	e.String(1, p.Proto)
	e.addr(2, p.HostIP)
	e.Uint(3, uint64(p.HostPort))
	e.addr(4, p.ContainerIP)
	e.Uint(5, uint64(p.ContainerPort))
	e.Bool(6, p.Splice)
	e.Bool(7, p.Socket)
}

func decodePort(d *Decoder) Port {
	in := NewDecoder(d.Raw())
	p := readPort(in)
	d.inherit(in)
	return p
}

func readPort(in *Decoder) (p Port) {
	for in.Next() {
		switch in.Tag() {
		case 1:
			p.Proto = in.String()
		case 2:
			p.HostIP = in.addr()
		case 3:
			p.HostPort = in.Uint16()
		case 4:
			p.ContainerIP = in.addr()
		case 5:
			p.ContainerPort = in.Uint16()
		case 6:
			p.Splice = in.Bool()
		case 7:
			p.Socket = in.Bool()
		}
	}
	return p
}

// addr writes an address as its 4 or 16 bytes.
func (e *Encoder) addr(tag uint8, a netip.Addr) {
	if a.IsValid() {
		e.Raw(tag, a.AsSlice())
	}
}

func (d *Decoder) addr() netip.Addr {
	a, ok := netip.AddrFromSlice(d.val)
	if !ok {
		d.err = ErrMalformed
	}
	return a
}

// inherit takes over a nested decoder's error.
func (d *Decoder) inherit(in *Decoder) {
	if d.err == nil {
		d.err = in.err
	}
}
