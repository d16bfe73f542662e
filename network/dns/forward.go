package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

const (
	// forwardWait is how long a query outside may take in all. Resolvers in
	// containers give up after five seconds.
	forwardWait = 4500 * time.Millisecond
	// nextServer is how long a server may think before the next is asked too and
	// the query is sent to it again; its late answer still counts.
	nextServer = 1500 * time.Millisecond
)

// flight is a query outside that others wait for too.
type flight struct {
	done   chan struct{}
	packed []byte // of the answer; nil = none
}

// forward asks outside. Equal questions at the same time are asked once, which
// also keeps a container from raising the odds of a forged answer by asking often.
func (r *Resolver) forward(c *client, q *query) *dns.Msg {
	k := q.key(c.scope)
	if k.flags&flagAlone != 0 {
		if m := r.ask(c, q); m != nil {
			return q.adopt(m)
		}
		return q.answer(dns.RcodeServerFailure)
	}
	r.mu.Lock()
	f, flying := r.flights[k]
	if !flying {
		f = &flight{done: make(chan struct{})}
		r.flights[k] = f
	}
	r.mu.Unlock()
	if flying {
		<-f.done // at most forwardWait
	} else {
		if m := r.ask(c, q); m != nil {
			r.cache.put(k, m, time.Now())
			f.packed, _ = m.Pack()
		}
		r.mu.Lock()
		delete(r.flights, k)
		r.mu.Unlock()
		close(f.done)
	}
	m := new(dns.Msg)
	if f.packed == nil || m.Unpack(f.packed) != nil {
		return q.answer(dns.RcodeServerFailure)
	}
	return q.adopt(m)
}

// ask returns the servers' answer, or nil when there is none.
func (r *Resolver) ask(c *client, q *query) *dns.Msg {
	select {
	case r.forwards <- struct{}{}:
		defer func() { <-r.forwards }()
	default:
		return nil
	}
	u := &r.host
	if c.own != nil {
		u = c.own
	}
	servers := u.servers(time.Now())
	ctx, cancel := context.WithTimeout(context.Background(), forwardWait)
	defer cancel()
	type result struct {
		m   *dns.Msg
		err error
	}
	results := make(chan result, len(servers))
	next, open := 0, 0
	start := func() {
		s := servers[next]
		next++
		open++
		go func() {
			m, err := u.exchange(ctx, s, q)
			if err == nil {
				u.answered(s)
			} else if !errors.Is(ctx.Err(), context.Canceled) {
				u.silent(s, time.Now())
			}
			results <- result{m, err}
		}()
	}
	if len(servers) == 0 {
		return nil
	}
	start()
	timer := time.NewTicker(nextServer)
	defer timer.Stop()
	var second *dns.Msg // an answer that another server may better
	for open > 0 {
		select {
		case res := <-results:
			open--
			if res.err == nil && (res.m.Rcode == dns.RcodeSuccess || res.m.Rcode == dns.RcodeNameError) {
				return res.m
			}
			if res.err == nil {
				second = res.m
			}
			if next < len(servers) {
				start()
			}
		case <-timer.C:
			u.silent(servers[next-1], time.Now())
			if next < len(servers) {
				start()
			}
		}
	}
	return second
}

// exchange asks one server: over UDP, again over TCP for what did not fit, and
// again without EDNS where the server does not know that.
func (u *upstreams) exchange(ctx context.Context, s netip.AddrPort, q *query) (*dns.Msg, error) {
	out := q.upstream(true)
	m, err := u.datagram(ctx, s, out)
	if err == nil && (m.Rcode == dns.RcodeFormatError || m.Rcode == dns.RcodeNotImplemented) && m.IsEdns0() == nil {
		out = q.upstream(false)
		m, err = u.datagram(ctx, s, out)
	}
	if err == nil && m.Truncated {
		if long, err := u.stream(ctx, s, out); err == nil {
			return long, nil
		}
	}
	return m, err
}

// upstream is the query as we ask it.
func (q *query) upstream(edns bool) *dns.Msg {
	m := &dns.Msg{
		MsgHdr:   dns.MsgHdr{Id: uint16(rand.Uint32()), RecursionDesired: q.RecursionDesired, CheckingDisabled: q.CheckingDisabled, AuthenticatedData: q.AuthenticatedData},
		Question: q.Question,
	}
	if edns {
		m.SetEdns0(ourSize, q.opt != nil && q.opt.Do())
		m.IsEdns0().Option = q.options()
	}
	return m
}

// datagram sends a query from a socket of its own, whose random port is half of
// what a forger must guess, and waits for the answer that fits it.
func (u *upstreams) datagram(ctx context.Context, s netip.AddrPort, out *dns.Msg) (*dns.Msg, error) {
	packed, err := out.Pack()
	if err != nil {
		return nil, err
	}
	conn, err := u.dial("udp", s, forwardWait)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	buf := make([]byte, maxSize)
	for ctx.Err() == nil {
		if _, err := conn.Write(packed); err != nil {
			return nil, err
		}
		if ctx.Err() == nil {
			_ = conn.SetReadDeadline(time.Now().Add(nextServer))
		}
		m, err := receive(conn, buf, out)
		if err == nil {
			return m, nil
		}
		if late, ok := err.(net.Error); !ok || !late.Timeout() {
			return nil, err
		}
	}
	return nil, ctx.Err()
}

// receive reads datagrams until one answers out.
func receive(conn net.Conn, buf []byte, out *dns.Msg) (*dns.Msg, error) {
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return nil, err
		}
		m := new(dns.Msg)
		if m.Unpack(buf[:n]) != nil && !m.Truncated || !answers(m, out) {
			continue
		}
		return m, nil
	}
}

// answers tells whether m is an answer to out.
func answers(m, out *dns.Msg) bool {
	if m.Id != out.Id || !m.Response {
		return false
	}
	if len(m.Question) == 0 { // some leave it out when they refuse
		return m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError
	}
	a, b := m.Question[0], out.Question[0]
	return len(m.Question) == 1 && a.Qtype == b.Qtype && a.Qclass == b.Qclass && strings.EqualFold(a.Name, b.Name)
}

// stream asks over TCP.
func (u *upstreams) stream(ctx context.Context, s netip.AddrPort, out *dns.Msg) (*dns.Msg, error) {
	deadline, _ := ctx.Deadline()
	conn, err := u.dial("tcp", s, time.Until(deadline))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(deadline)
	packed, err := out.Pack()
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(packed))), packed...)); err != nil {
		return nil, err
	}
	var head [2]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint16(head[:]))
	if _, err := io.ReadFull(conn, b); err != nil {
		return nil, err
	}
	m := new(dns.Msg)
	if err := m.Unpack(b); err != nil {
		return nil, err
	}
	if !answers(m, out) {
		return nil, errors.New("the answer is to another question")
	}
	return m, nil
}
