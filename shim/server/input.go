package server

import "golang.org/x/sys/unix"

// input is a process's standard input, or the writing side of its terminal.
type input struct {
	p      *proc
	fd     int
	pend   []byte // accepted from clients, not yet taken by the process
	ending bool   // close once pend is empty
	closed bool
}

// write gives data to the process. What it does not take at once is kept, and no
// client's input is read until it has. A process that closed its input loses
// what comes, as with any pipe; the client must not hang on it.
func (in *input) write(data []byte) {
	if in == nil || in.closed || in.ending || len(data) == 0 {
		return
	}
	if len(in.pend) > 0 {
		in.pend = append(in.pend, data...)
		return
	}
	n, err := writeRetry(in.fd, data)
	if err != nil && err != unix.EAGAIN {
		in.close()
		return
	}
	if n = max(n, 0); n < len(data) {
		in.pend = append(in.pend[:0], data[n:]...)
		in.p.s.add(in.fd, unix.EPOLLOUT, in)
		in.p.readClients(false)
	}
}

// ready continues a write.
func (in *input) ready(uint32) {
	n, err := writeRetry(in.fd, in.pend)
	switch {
	case err == unix.EAGAIN:
		return
	case err != nil:
		in.close()
	default:
		in.pend = in.pend[:copy(in.pend, in.pend[n:])]
		if len(in.pend) > 0 {
			return
		}
		in.p.s.del(in.fd)
		if in.ending {
			in.close()
		}
	}
	in.p.readClients(true)
}

// end closes the input once the process has taken everything.
func (in *input) end() {
	if in == nil || in.closed {
		return
	}
	if len(in.pend) == 0 {
		in.close()
		return
	}
	in.ending = true
}

func (in *input) close() {
	if in.closed {
		return
	}
	in.closed = true
	in.pend = nil
	in.p.s.close(in.fd)
}

// readClients turns the reading of the clients' input on or off.
func (p *proc) readClients(on bool) {
	for _, c := range p.clients {
		c.watchInput(on)
	}
}
