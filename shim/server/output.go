package server

import (
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/logs/logfile"
)

const (
	// readSize is what one read takes: a full pipe.
	readSize = 64 << 10
	// muxHeader is Docker's frame header on attach streams: stream, three zero
	// bytes, length in big endian.
	muxHeader = 8
	// dataOffset leaves room for the header in front of the data, on a page of
	// its own that is touched only when there is a client.
	dataOffset = 4096
)

// output is one output stream of a process.
type output struct {
	p        *proc
	fd       int
	stream   byte // 1 stdout, 2 stderr
	borrowed bool // fd is the console's and is closed with it
	log      *logfile.Stream
	watching bool
	done     bool // at its end
	discard  bool // nobody wants it any more, but its writers must not get SIGPIPE
}

// watch adds the stream to the loop or takes it out. A masked entry would not
// do: epoll reports a hang-up whatever the mask.
func (o *output) watch(on bool) error {
	if on == o.watching || o.done {
		return nil
	}
	o.watching = on
	if on {
		return o.p.s.add(o.fd, unix.EPOLLIN, o)
	}
	o.p.s.del(o.fd)
	return nil
}

func (o *output) ready(uint32) { o.read() }

// read takes one buffer full and hands it on. It tells whether there may be more
// at once.
func (o *output) read() bool {
	s := o.p.s
	n, err := readRetry(o.fd, s.buf[dataOffset:])
	switch {
	case n > 0:
		if !o.discard {
			o.deliver(n)
		}
		return true
	case err == unix.EAGAIN:
		return false
	}
	// End of file, or EIO: the last process with the terminal's other side is gone.
	o.close()
	return false
}

func (o *output) deliver(n int) {
	s := o.p.s
	s.used(n)
	data := s.buf[dataOffset : dataOffset+n]
	if o.log != nil {
		o.log.Write(data)
	}
	if len(o.p.clients) == 0 {
		return
	}
	head := s.buf[dataOffset-muxHeader : dataOffset]
	head[0], head[1], head[2], head[3] = o.stream, 0, 0, 0
	head[4], head[5], head[6], head[7] = byte(n>>24), byte(n>>16), byte(n>>8), byte(n)
	for _, c := range o.p.clients {
		switch {
		case !c.wants(o.stream):
		case c.mux:
			c.send(s.buf[dataOffset-muxHeader : dataOffset+n])
		default:
			c.send(data)
		}
	}
	o.p.flow()
}

// close ends the stream. What the log holds of an unfinished line is recorded.
func (o *output) close() {
	if o.done {
		return
	}
	o.watch(false)
	o.done = true
	if o.discard {
		o.p.s.orphanOuts--
	}
	if !o.borrowed {
		unix.Close(o.fd)
	}
	if o.log != nil {
		o.log.Close()
	}
}
