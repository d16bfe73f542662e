package systemd

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/sampan-containers/sampan/fault"
)

const (
	// Where systemd listens for root without a message bus between, and the bus.
	privateSocket = "/run/systemd/private"
	systemBus     = "/run/dbus/system_bus_socket"
	// runningDir exists where systemd is the init system: sd_booted(3).
	runningDir = "/run/systemd/system"

	busName   = "org.freedesktop.DBus"
	busPath   = "/org/freedesktop/DBus"
	initName  = "org.freedesktop.systemd1"
	initPath  = "/org/freedesktop/systemd1"
	manager   = initName + ".Manager"
	property  = "org.freedesktop.DBus.Properties"
	maxAnswer = 512 // a line of the authentication

	// timeout bounds one operation: systemd may be busy with a whole boot.
	timeout = 30 * time.Second
)

// Running reports whether systemd is the machine's init system.
func Running() bool {
	st, err := os.Lstat(runningDir)
	return err == nil && st.IsDir()
}

// conn is a connection to a manager.
type conn struct {
	c      *socket
	bus    bool // there is a message bus between
	user   bool // a user's manager
	serial uint32
	queued []*message // signals that came while an answer was awaited
}

// callError is an error that the other side returned.
type callError struct{ name, text string }

func (e *callError) Error() string { return e.text }

// is reports whether err is an error of the given name, without the part that all of
// systemd's have in common.
func is(err error, name string) bool {
	var e *callError
	return errors.As(err, &e) && (e.name == initName+"."+name || e.name == busName+".Error."+name)
}

// address is one place to try.
type address struct {
	path      string
	bus, user bool
}

// addresses lists where the manager may be reached.
func addresses(uid int) []address {
	if uid == 0 {
		return []address{{path: privateSocket}, {path: systemBus, bus: true}}
	}
	runtimeDir := os.Getenv("XDG_RUNTIME_DIR")
	if runtimeDir == "" {
		runtimeDir = "/run/user/" + strconv.Itoa(uid)
	}
	list := []address{{path: runtimeDir + "/systemd/private", user: true}}
	for a := range strings.SplitSeq(os.Getenv("DBUS_SESSION_BUS_ADDRESS"), ";") {
		if path, ok := strings.CutPrefix(a, "unix:path="); ok {
			path, _, _ = strings.Cut(path, ",")
			list = append(list, address{path: path, bus: true, user: true})
		}
	}
	return append(list, address{path: runtimeDir + "/bus", bus: true, user: true})
}

// dial connects to the manager that is responsible for this process.
func dial(ctx context.Context) (*conn, error) {
	uid := hostUID()
	var errs []error
	for _, a := range addresses(uid) {
		c, err := a.connect(ctx, uid)
		if err == nil {
			return c, nil
		}
		errs = append(errs, err)
	}
	hint := "is systemd this machine's init, and is its socket visible here? The cgroupfs driver needs neither"
	if uid != 0 {
		hint = "a user needs a session (loginctl enable-linger), and XDG_RUNTIME_DIR or DBUS_SESSION_BUS_ADDRESS"
	}
	return nil, fault.New(fault.Unavailable, "systemd cannot be reached: %w (%s)", errors.Join(errs...), hint)
}

func (a address) connect(ctx context.Context, uid int) (_ *conn, retErr error) {
	n, err := connect(ctx, a.path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if retErr != nil {
			n.Close()
		}
	}()
	c := &conn{c: n, bus: a.bus, user: a.user}
	if err := c.authenticate(uid); err != nil {
		return nil, fmt.Errorf("log in at %s: %w", a.path, err)
	}
	if !a.bus {
		return c, nil
	}
	// The bus wants to be greeted, and passes on only the signals asked for.
	if _, err := c.call(&call{destination: busName, path: busPath, iface: busName, member: "Hello"}); err != nil {
		return nil, fmt.Errorf("greet the message bus at %s: %w", a.path, err)
	}
	match := &call{destination: busName, path: busPath, iface: busName, member: "AddMatch", signature: "s"}
	match.body.string("type='signal',sender='" + initName + "',interface='" + manager + "',member='JobRemoved'")
	if _, err := c.call(match); err != nil {
		return nil, fmt.Errorf("subscribe at %s: %w", a.path, err)
	}
	if _, err := c.call(c.manager("Subscribe", "")); err != nil {
		return nil, fmt.Errorf("subscribe at %s: %w", a.path, err)
	}
	return c, nil
}

// authenticate says who we are; the kernel vouches for it.
func (c *conn) authenticate(uid int) error {
	// All at once, and no message before the answer: systemd's own socket reads ahead, and
	// what it finds behind BEGIN waits there until something else arrives.
	hello := "\x00AUTH EXTERNAL " + hex.EncodeToString([]byte(strconv.Itoa(uid))) + "\r\nBEGIN\r\n"
	if _, err := io.WriteString(c.c, hello); err != nil {
		return err
	}
	// Byte by byte: what follows the line belongs to the protocol behind it.
	var line []byte
	for one := make([]byte, 1); !bytes.HasSuffix(line, []byte("\r\n")); {
		if _, err := io.ReadFull(c.c, one); err != nil {
			return err
		}
		if line = append(line, one[0]); len(line) > maxAnswer {
			return errors.New("the answer is too long")
		}
	}
	if !bytes.HasPrefix(line, []byte("OK ")) {
		return fmt.Errorf("the answer is %.80q", line)
	}
	return nil
}

func (c *conn) close() { c.c.Close() }

// manager is a call of systemd's manager.
func (c *conn) manager(member, signature string) *call {
	return c.object(initPath, manager, member, signature)
}

func (c *conn) object(path, iface, member, signature string) *call {
	m := &call{path: path, iface: iface, member: member, signature: signature}
	if c.bus {
		m.destination = initName
	}
	return m
}

// call sends a message and waits for its answer.
func (c *conn) call(m *call) (*message, error) {
	c.serial++
	if _, err := c.c.Write(m.encode(c.serial)); err != nil {
		return nil, fmt.Errorf("call %s: %w", m.member, err)
	}
	for {
		got, err := c.read()
		if err != nil {
			return nil, fmt.Errorf("call %s: %w", m.member, err)
		}
		switch {
		case got.kind == typeSignal:
			c.queue(got)
		case got.reply != c.serial:
		case got.kind == typeReply:
			return got, nil
		case got.kind == typeError:
			text := got.errName
			if strings.HasPrefix(got.signature, "s") {
				text = got.body.string()
			}
			return nil, &callError{name: got.errName, text: text}
		}
	}
}

// maxQueued bounds the ends of jobs that are kept: on systemd's own socket those of
// everybody's jobs come in.
const maxQueued = 1024

func (c *conn) queue(m *message) {
	if m.iface == manager && m.member == "JobRemoved" && len(c.queued) < maxQueued {
		c.queued = append(c.queued, m)
	}
}

func (c *conn) read() (*message, error) {
	raw := make([]byte, fixedHeader)
	if _, err := io.ReadFull(c.c, raw); err != nil {
		return nil, err
	}
	fields, body, err := sizes(raw)
	if err != nil {
		return nil, err
	}
	raw = append(raw, make([]byte, fields+body)...)
	if _, err := io.ReadFull(c.c, raw[fixedHeader:]); err != nil {
		return nil, err
	}
	return decode(raw)
}

// job calls a method that returns a job, and waits for the job's end.
func (c *conn) job(m *call) error {
	answer, err := c.call(m)
	if err != nil {
		return err
	}
	job := answer.body.string()
	if answer.body.err != nil {
		return answer.body.err
	}
	for {
		var got *message
		if len(c.queued) > 0 {
			got, c.queued = c.queued[0], c.queued[1:]
		} else if got, err = c.read(); err != nil {
			return fmt.Errorf("wait for the job: %w", err)
		}
		if got.kind != typeSignal || got.member != "JobRemoved" || got.iface != manager {
			continue
		}
		// uoss: number, job, unit, result.
		got.body.uint32()
		if got.body.string() != job {
			continue
		}
		got.body.string()
		if result := got.body.string(); result != "done" || got.body.err != nil {
			return fmt.Errorf("the job ended as %q; see journalctl for the unit", result)
		}
		return nil
	}
}

// text reads a property of the manager that is a string.
func (c *conn) text(name string) (string, error) {
	m := c.object(initPath, property, "Get", "ss")
	m.body.string(manager)
	m.body.string(name)
	answer, err := c.call(m)
	if err != nil {
		return "", err
	}
	if kind := answer.body.signature(); kind != "s" {
		return "", fmt.Errorf("the property %s has the type %.10q", name, kind)
	}
	return answer.body.string(), answer.body.err
}

// hostUID is our user as the other side sees it: in a user namespace it is not what
// getuid returns.
func hostUID() int {
	uid := os.Geteuid()
	table, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return uid
	}
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if len(f) != 3 {
			continue
		}
		inside, err1 := strconv.Atoi(f[0])
		outside, err2 := strconv.Atoi(f[1])
		count, err3 := strconv.Atoi(f[2])
		if err1 == nil && err2 == nil && err3 == nil && uid >= inside && uid-inside < count {
			return outside + uid - inside
		}
	}
	return uid
}
