package dns

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	// maxQuery is what a query over UDP may have; real ones have under 300 bytes.
	maxQuery = 1500
	// tcpIdle is how long a TCP connection may say nothing (RFC 7766).
	tcpIdle = 10 * time.Second
	// tcpWrite bounds the wait for a client that does not read.
	tcpWrite = 5 * time.Second
	// acceptPause keeps a failing accept (no descriptor left) from spinning.
	acceptPause = 50 * time.Millisecond
)

// serveUDP reads queries until the socket is closed. What can be answered at once
// is answered here; nothing in this goroutine waits for anybody outside.
func (r *Resolver) serveUDP(c *client) {
	buf := make([]byte, maxQuery)
	for {
		n, from, err := c.udp.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // an ICMP answer to something we sent
		}
		r.handle(c, buf[:n], false, func(answer []byte) {
			if answer != nil {
				_, _ = c.udp.WriteToUDPAddrPort(answer, from) // who asked may have gone
			}
		})
	}
}

// serveTCP accepts connections until the listener is closed.
func (r *Resolver) serveTCP(c *client) {
	for {
		c.conns <- struct{}{}
		conn, err := c.tcp.AcceptTCP()
		if err != nil {
			<-c.conns
			if errors.Is(err, net.ErrClosed) {
				return
			}
			time.Sleep(acceptPause)
			continue
		}
		c.mu.Lock()
		stopped := c.open == nil
		if !stopped {
			c.open[conn] = struct{}{}
		}
		c.mu.Unlock()
		if stopped {
			conn.Close()
			return
		}
		go func() {
			r.serveConn(c, conn)
			conn.Close()
			c.mu.Lock()
			delete(c.open, conn)
			c.mu.Unlock()
			<-c.conns
		}()
	}
}

// serveConn answers the queries of one connection, in the order in which the
// answers are known (RFC 7766 allows it).
func (r *Resolver) serveConn(c *client, conn net.Conn) {
	var writing sync.Mutex
	var pending sync.WaitGroup
	defer pending.Wait()
	for {
		query, err := readMessage(conn)
		if err != nil {
			return
		}
		pending.Add(1)
		answered := false // the connection is closed after every answer is out
		r.handle(c, query, true, func(answer []byte) {
			writing.Lock()
			defer writing.Unlock()
			if answered {
				return
			}
			answered = true
			defer pending.Done()
			if answer != nil {
				_ = conn.SetWriteDeadline(time.Now().Add(tcpWrite))
				if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)); err != nil {
					conn.Close() // half an answer: nothing more can follow
				}
			}
		})
	}
}

func readMessage(conn net.Conn) ([]byte, error) {
	_ = conn.SetReadDeadline(time.Now().Add(tcpIdle))
	var head [2]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint16(head[:])
	if n < headerSize || n > maxQuery {
		return nil, os.ErrInvalid
	}
	b := make([]byte, n)
	_, err := io.ReadFull(conn, b)
	return b, err
}

const headerSize = 12

// handle answers one query by reply, now or later; a packet that is no query is
// dropped with reply(nil). It does not keep b.
func (r *Resolver) handle(c *client, b []byte, stream bool, reply func([]byte)) {
	q, refused := parse(b)
	if q == nil {
		reply(refused)
		return
	}
	q.stream = stream
	m := r.inside(c, q)
	if m == nil && !r.names.Outside(c.ID) {
		m = q.answer(dns.RcodeServerFailure)
	}
	if m == nil && c.Qualified && q.bare() {
		m = q.answer(dns.RcodeNameError)
	}
	if m == nil {
		if cached, ok := r.cache.get(q.key(c.scope), time.Now()); ok {
			m = q.adopt(cached)
		}
	}
	if m != nil {
		reply(q.pack(m))
		return
	}
	select {
	case c.forwards <- struct{}{}:
	default:
		reply(q.pack(q.answer(dns.RcodeServerFailure)))
		return
	}
	go func() {
		defer func() { <-c.forwards }()
		reply(q.pack(r.forward(c, q)))
	}()
}
