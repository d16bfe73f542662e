package checkpoint

import (
	"encoding/binary"
	"errors"
)

// Messages of criu (images/rpc.proto in its sources), in the wire format of protocol
// buffers: each field is a tag, number<<3 | wire type, and a varint or counted bytes.

// The types of requests and responses.
const (
	typeDump         = 1
	typeRestore      = 2
	typePreDump      = 4
	typeNotify       = 6
	typeFeatureCheck = 9
	typeVersion      = 10
)

// typeNames are how criu's own messages call them.
var typeNames = map[uint64]string{
	typeDump: "dump", typeRestore: "restore", typePreDump: "pre-dump", typeNotify: "notify", typeFeatureCheck: "feature check", typeVersion: "version",
}

const (
	wireVarint = 0
	wireFixed8 = 1
	wireBytes  = 2
	wireFixed4 = 5
)

// message is one that is being written.
type message []byte

func (m *message) uint(field int, v uint64) {
	*m = binary.AppendUvarint(binary.AppendUvarint(*m, uint64(field)<<3|wireVarint), v)
}

// flag leaves out what is false, the default of every option here.
func (m *message) flag(field int, v bool) {
	if v {
		m.uint(field, 1)
	}
}

func (m *message) bytes(field int, v []byte) {
	*m = binary.AppendUvarint(binary.AppendUvarint(*m, uint64(field)<<3|wireBytes), uint64(len(v)))
	*m = append(*m, v...)
}

// text leaves out what is empty.
func (m *message) text(field int, v string) {
	if v != "" {
		m.bytes(field, []byte(v))
	}
}

// pair writes a message of two strings.
func (m *message) pair(field int, a, b string) {
	var in message
	in.text(1, a)
	in.bytes(2, []byte(b))
	m.bytes(field, in)
}

// mountMap is criu's ext_mount_map: at a dump a mount point and a name for it, at a
// restore that name and what is mounted there.
type mountMap struct{ key, val string }

// inherited is a descriptor of criu that takes the place of what the images call key.
type inherited struct {
	key string
	fd  int
}

// options is criu_opts, as far as it is used. Descriptors are criu's.
type options struct {
	imagesFD, workFD int // workFD: 0 is none
	pid              int
	leaveRunning     bool
	extUnix          bool
	tcpEstablished   bool
	evasiveDevices   bool
	shellJob         bool
	fileLocks        bool
	logLevel         int
	logFile          string
	pageAddress      string
	pagePort         uint64
	notifyScripts    bool
	root             string
	parent           string
	trackMem         bool
	autoDedup        bool
	mounts           []mountMap
	manageCgroups    bool
	cgroupRoots      []mountMap // controller and path
	sibling          bool
	inherit          []inherited
	cgroupMode       uint64
	hasCgroupMode    bool
	external         []string
	emptyNS          uint64
	join             []mountMap // kind of namespace and path
	freezer          string
	lazyPages        bool
	orphanPts        bool
	configFile       string
	lsmProfile       string
	lsmMountContext  string
}

func (o *options) encode() []byte {
	var m message
	m.uint(1, uint64(o.imagesFD))
	if o.pid > 0 {
		m.uint(2, uint64(o.pid))
	}
	m.flag(3, o.leaveRunning)
	m.flag(4, o.extUnix)
	m.flag(5, o.tcpEstablished)
	m.flag(6, o.evasiveDevices)
	m.flag(7, o.shellJob)
	m.flag(8, o.fileLocks)
	m.uint(9, uint64(o.logLevel))
	m.text(10, o.logFile)
	if o.pageAddress != "" {
		var in message
		in.text(1, o.pageAddress)
		in.uint(2, o.pagePort)
		m.bytes(11, in)
	}
	m.flag(12, o.notifyScripts)
	m.text(13, o.root)
	m.text(14, o.parent)
	m.flag(15, o.trackMem)
	m.flag(16, o.autoDedup)
	if o.workFD > 0 {
		m.uint(17, uint64(o.workFD))
	}
	for _, e := range o.mounts {
		m.pair(23, e.key, e.val)
	}
	m.flag(24, o.manageCgroups)
	for _, e := range o.cgroupRoots {
		m.pair(25, e.key, e.val)
	}
	m.flag(26, o.sibling)
	for _, e := range o.inherit {
		var in message
		in.text(1, e.key)
		in.uint(2, uint64(e.fd))
		m.bytes(27, in)
	}
	if o.hasCgroupMode {
		m.uint(34, o.cgroupMode)
	}
	for _, e := range o.external {
		m.text(37, e)
	}
	if o.emptyNS > 0 {
		m.uint(38, o.emptyNS)
	}
	for _, e := range o.join {
		m.pair(39, e.key, e.val)
	}
	m.text(44, o.freezer)
	m.flag(48, o.lazyPages)
	m.flag(50, o.orphanPts)
	m.text(51, o.configFile)
	m.text(53, o.lsmProfile)
	m.text(63, o.lsmMountContext)
	return m
}

// request is criu_req.
type request struct {
	typ           uint64
	opts          *options
	notifySuccess bool
	memTrack      bool // features to ask for
	lazyPages     bool
}

func (r *request) encode() []byte {
	var m message
	m.uint(1, r.typ)
	if r.opts != nil {
		m.bytes(2, r.opts.encode())
	}
	m.flag(3, r.notifySuccess)
	if r.memTrack || r.lazyPages {
		var in message
		in.flag(1, r.memTrack)
		in.flag(2, r.lazyPages)
		m.bytes(5, in)
	}
	return m
}

// response is criu_resp, with the fields of its parts.
type response struct {
	typ       uint64
	success   bool
	pid       int    // of restore and notify
	script    string // of notify
	errno     int
	errText   string
	memTrack  bool
	lazyPages bool
	version   int // 31701 for 3.17.1
}

var errMessage = errors.New("criu sent a malformed message")

// fields calls f for each field of a message; v is that of a varint, b of bytes.
func fields(b []byte, f func(field int, v uint64, b []byte) error) error {
	for len(b) > 0 {
		tag, n := binary.Uvarint(b)
		if n <= 0 {
			return errMessage
		}
		b = b[n:]
		var v uint64
		var data []byte
		switch tag & 7 {
		case wireVarint:
			if v, n = binary.Uvarint(b); n <= 0 {
				return errMessage
			}
		case wireBytes:
			size, used := binary.Uvarint(b)
			if used <= 0 || size > uint64(len(b)-used) {
				return errMessage
			}
			data, n = b[used:used+int(size)], used+int(size)
		case wireFixed4, wireFixed8:
			if n = 4; tag&7 == wireFixed8 {
				n = 8
			}
			if len(b) < n {
				return errMessage
			}
		default:
			return errMessage
		}
		b = b[n:]
		if err := f(int(tag>>3), v, data); err != nil {
			return err
		}
	}
	return nil
}

func decodeResponse(b []byte) (*response, error) {
	r := &response{}
	err := fields(b, func(field int, v uint64, data []byte) error {
		switch field {
		case 1:
			r.typ = v
		case 2:
			r.success = v != 0
		case 4: // criu_restore_resp
			return fields(data, func(field int, v uint64, _ []byte) error {
				if field == 1 {
					r.pid = int(int32(v))
				}
				return nil
			})
		case 5: // criu_notify
			return fields(data, func(field int, v uint64, data []byte) error {
				switch field {
				case 1:
					r.script = string(data)
				case 2:
					r.pid = int(int32(v))
				}
				return nil
			})
		case 7:
			r.errno = int(int32(v))
		case 8: // criu_features
			return fields(data, func(field int, v uint64, _ []byte) error {
				switch field {
				case 1:
					r.memTrack = v != 0
				case 2:
					r.lazyPages = v != 0
				}
				return nil
			})
		case 9:
			r.errText = string(data)
		case 10: // criu_version
			return fields(data, func(field int, v uint64, _ []byte) error {
				switch field {
				case 1:
					r.version += int(v) * 10000
				case 2:
					r.version += int(v) * 100
				case 4:
					r.version += int(v)
				}
				return nil
			})
		}
		return nil
	})
	return r, err
}
