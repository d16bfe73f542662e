package dns

import (
	"encoding/binary"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

const (
	// ttl is how long a container may remember a name of its networks: containers
	// come and go.
	ttl = 5
	// minSize is what a client without EDNS takes over UDP, maxSize the most that
	// is sent to one with it; ourSize is what we tell upstream servers.
	minSize, maxSize, ourSize = 512, 4096, 1232

	headerQR = 1 << 15 // of the header's flags: it is an answer
)

// query is one well-formed question.
type query struct {
	*dns.Msg
	question dns.Question
	opt      *dns.OPT // nil = no EDNS
	stream   bool     // came over TCP
}

// parse reads a packet. Without a query it returns the answer that says why not,
// or nil for what must not be answered at all.
func parse(b []byte) (q *query, refused []byte) {
	if len(b) < headerSize || binary.BigEndian.Uint16(b[2:])&headerQR != 0 {
		return nil, nil
	}
	m := new(dns.Msg)
	rcode := dns.RcodeSuccess
	switch err := m.Unpack(b); {
	case err != nil:
		m = &dns.Msg{MsgHdr: dns.MsgHdr{Id: binary.BigEndian.Uint16(b), Opcode: int(b[2]>>3) & 0xf}}
		rcode = dns.RcodeFormatError
	case m.Opcode != dns.OpcodeQuery:
		rcode = dns.RcodeNotImplemented
	case len(m.Question) != 1:
		rcode = dns.RcodeFormatError
	case m.Question[0].Qclass != dns.ClassINET || m.Question[0].Qtype == dns.TypeAXFR || m.Question[0].Qtype == dns.TypeIXFR:
		rcode = dns.RcodeRefused
	}
	if rcode != dns.RcodeSuccess {
		answer := &dns.Msg{MsgHdr: dns.MsgHdr{Id: m.Id, Response: true, Opcode: m.Opcode, RecursionDesired: m.RecursionDesired, Rcode: rcode}}
		if len(m.Question) == 1 {
			answer.Question = m.Question
		}
		packed, err := answer.Pack()
		if err != nil {
			return nil, nil
		}
		return nil, packed
	}
	q = &query{Msg: m, question: m.Question[0], opt: m.IsEdns0()}
	if q.opt != nil && q.opt.Version() != 0 {
		return nil, q.pack(q.answer(dns.RcodeBadVers))
	}
	return q, nil
}

// answer is an empty answer with our header.
func (q *query) answer(rcode int) *dns.Msg {
	return &dns.Msg{
		MsgHdr:   dns.MsgHdr{Id: q.Id, Response: true, Opcode: q.Opcode, RecursionDesired: q.RecursionDesired, RecursionAvailable: true, CheckingDisabled: q.CheckingDisabled, Rcode: rcode},
		Question: q.Question,
		Compress: true,
	}
}

// adopt turns an upstream server's answer into one to this query.
func (q *query) adopt(m *dns.Msg) *dns.Msg {
	m.Id, m.Response, m.Opcode, m.RecursionDesired, m.RecursionAvailable = q.Id, true, q.Opcode, q.RecursionDesired, true
	m.Question = q.Question // in the client's upper and lower case
	m.Compress = true
	return m
}

// pack makes the message that the client can take: with EDNS only if it has it,
// cut to its size over UDP.
func (q *query) pack(m *dns.Msg) []byte {
	extra := m.Extra[:0:0]
	for _, rr := range m.Extra {
		if _, ok := rr.(*dns.OPT); !ok {
			extra = append(extra, rr)
		}
	}
	m.Extra = extra
	size := minSize
	if q.opt != nil {
		size = min(max(minSize, int(q.opt.UDPSize())), maxSize)
		m.SetEdns0(maxSize, q.opt.Do())
	} else if m.Rcode > 0xf {
		m.Rcode = dns.RcodeServerFailure // the header has four bits
	}
	if q.stream {
		size = dns.MaxMsgSize
	}
	m.Truncate(size)
	b, err := m.Pack()
	if err != nil { // an upstream server sent what cannot be said again
		b, _ = q.answer(dns.RcodeServerFailure).Pack()
	}
	return b
}

func (q *query) bare() bool {
	t := q.question.Qtype
	return (t == dns.TypeA || t == dns.TypeAAAA) && !strings.Contains(strings.TrimSuffix(q.question.Name, "."), ".")
}

// inside answers from the names of the container's networks; nil = nobody there
// has the name.
func (r *Resolver) inside(c *client, q *query) *dns.Msg {
	if q.question.Qtype == dns.TypePTR {
		return r.reverse(c, q)
	}
	addrs, found := r.names.Lookup(c.ID, q.question.Name)
	if !found {
		return nil
	}
	m := q.answer(dns.RcodeSuccess)
	header := func(typ uint16) dns.RR_Header {
		return dns.RR_Header{Name: q.question.Name, Rrtype: typ, Class: dns.ClassINET, Ttl: ttl}
	}
	var v4, v6 []dns.RR
	for _, a := range addrs {
		if a = a.Unmap(); a.Is4() {
			v4 = append(v4, &dns.A{Hdr: header(dns.TypeA), A: a.AsSlice()})
		} else {
			v6 = append(v6, &dns.AAAA{Hdr: header(dns.TypeAAAA), AAAA: a.AsSlice()})
		}
	}
	// A name that is known has no answer of another type, or family: asking
	// outside would leak it.
	switch q.question.Qtype {
	case dns.TypeA:
		m.Answer = c.rotate(0, v4)
	case dns.TypeAAAA:
		m.Answer = c.rotate(1, v6)
	case dns.TypeANY:
		m.Answer = append(v4, v6...)
	}
	return m
}

// rotate gives each address the first place in turn. The families turn apart:
// clients ask for both, one after the other.
func (c *client) rotate(family int, list []dns.RR) []dns.RR {
	if len(list) < 2 {
		return list
	}
	i := int(c.turns[family].Add(1) % uint32(len(list)))
	return append(list[i:len(list):len(list)], list[:i]...)
}

// reverse answers a PTR query for an address of the container's networks.
func (r *Resolver) reverse(c *client, q *query) *dns.Msg {
	addr, ok := fromReverse(q.question.Name)
	if !ok {
		return nil
	}
	name, found := r.names.Reverse(c.ID, addr)
	if !found {
		return nil
	}
	m := q.answer(dns.RcodeSuccess)
	m.Answer = []dns.RR{&dns.PTR{Hdr: dns.RR_Header{Name: q.question.Name, Rrtype: dns.TypePTR, Class: dns.ClassINET, Ttl: ttl}, Ptr: dns.Fqdn(name)}}
	return m
}

// fromReverse returns the address of a name below in-addr.arpa or ip6.arpa.
func fromReverse(name string) (netip.Addr, bool) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if short, ok := strings.CutSuffix(name, ".in-addr.arpa"); ok {
		labels := strings.Split(short, ".")
		if len(labels) != 4 {
			return netip.Addr{}, false
		}
		a, err := netip.ParseAddr(labels[3] + "." + labels[2] + "." + labels[1] + "." + labels[0])
		return a, err == nil
	}
	short, ok := strings.CutSuffix(name, ".ip6.arpa")
	const nibbles = 32
	if !ok || len(short) != 2*nibbles-1 {
		return netip.Addr{}, false
	}
	var text []byte
	for i := len(short) - 1; i >= 0; i -= 2 {
		if i > 0 && short[i-1] != '.' {
			return netip.Addr{}, false
		}
		if text = append(text, short[i]); len(text)%5 == 4 && i > 0 {
			text = append(text, ':')
		}
	}
	a, err := netip.ParseAddr(string(text))
	return a, err == nil
}
