package launch

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"syscall"

	"github.com/sampan-containers/sampan/kernel/fdpass"
)

// Kind is the kind of a message from the child.
type Kind uint32

// The messages. Failed never reaches the caller of Next: it is an error there.
const (
	Failed Kind = iota + 1 // an operation failed; value: its number, errno
	Forked                 // value: pid of a process that the child made
	Files                  // descriptors
	Waits                  // the child waits for Child.Continue
	Done                   // only what cannot be reported any more is left before execve
	lastKind
)

const (
	recordWords = 4 // kind, value or number of the operation, errno, number of the system call
	recordSize  = recordWords * 4
	maxErrno    = 4095 // MAX_ERRNO in include/linux/err.h

	// MaxFiles is the largest number of descriptors in one message.
	MaxFiles = 8

	// maxMessages bounds what a child may say: more means that it is not our
	// program that speaks.
	maxMessages = 64
)

// Message is what the child reports while it runs.
type Message struct {
	Kind  Kind
	Value uint32
	Files []*os.File // the receiver owns them
}

var errBadMessage = errors.New("the process being started sent a message that its program does not contain")

// Next waits for the next message. io.EOF says that no process holds the socket
// any more: execve succeeded, or the child was killed. A failed operation is a
// *Failure.
func (c *Child) Next() (Message, error) {
	if c.messages++; c.messages > maxMessages {
		return Message{}, errBadMessage
	}
	var buf [recordSize + 1]byte
	n, files, err := fdpass.Recv(int(c.sock.Fd()), buf[:], MaxFiles)
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
		return Message{}, io.EOF
	}
	if err != nil {
		return Message{}, err
	}
	m, err := c.p.decode(buf[:n])
	m.Files = files
	if err != nil || (len(files) > 0) != (m.Kind == Files) {
		closeAll(files)
		if err == nil {
			err = errBadMessage
		}
		return Message{}, err
	}
	return m, nil
}

// Record is a message as it is sent.
type Record struct {
	Kind  Kind
	Value uint32        // of the message, or the number of the operation that failed
	Errno syscall.Errno // Failed: why
	Call  uint32        // Failed: number of the system call, 0 if it was none
}

// RecordSize is the size of a message in bytes.
const RecordSize = recordSize

// ParseRecord checks a message on its own. Only the process that started the program
// can find out what a number of an operation means.
func ParseRecord(data []byte) (Record, error) {
	if len(data) != recordSize {
		return Record{}, errBadMessage
	}
	word := func(i int) uint32 { return binary.NativeEndian.Uint32(data[4*i:]) }
	r := Record{Kind: Kind(word(0)), Value: word(1), Errno: syscall.Errno(word(2)), Call: word(3)}
	bad := r.Kind == 0 || r.Kind >= lastKind || r.Kind == Failed && (r.Errno == 0 || r.Errno > maxErrno)
	if bad {
		return Record{}, errBadMessage
	}
	return r, nil
}

// decode checks a message against the program.
func (p *Program) decode(data []byte) (Message, error) {
	r, err := ParseRecord(data)
	switch {
	case err != nil:
		return Message{}, err
	case r.Kind != Failed:
		return Message{Kind: r.Kind, Value: r.Value}, nil
	case int64(r.Value) >= int64(len(p.where)):
		return Message{}, errBadMessage
	}
	return Message{}, &Failure{Site: p.sites[p.where[r.Value]], Errno: r.Errno}
}

// Failure is a failed operation. Its text is one sentence.
type Failure struct {
	Site  Site
	Errno syscall.Errno
}

// Error says what failed, why, and what can be done about it.
func (f *Failure) Error() string {
	text := f.Site.What + ": " + reason(f.Errno)
	for _, h := range f.Site.Hints {
		if h.Errno == f.Errno || h.Errno == 0 {
			return text + " (" + h.Text + ")"
		}
	}
	return text
}

// Unwrap gives the errno and the site's class to errors.Is.
func (f *Failure) Unwrap() []error {
	if f.Site.Class == nil {
		return []error{f.Errno}
	}
	return []error{f.Errno, f.Site.Class}
}

// reason is the errno in words. Clients of the Engine API search error texts for
// "no such file or directory", "permission denied" and "is a directory" and
// take them for a program that is missing or cannot be executed, so these
// words are kept for the program (see package runtime).
func reason(e syscall.Errno) string {
	switch e {
	case syscall.ENOENT:
		return "it does not exist"
	case syscall.EACCES:
		return "access is denied"
	case syscall.EISDIR:
		return "a directory is in the way"
	case syscall.ELOOP:
		return "a symbolic link is in the way"
	}
	return e.Error()
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
