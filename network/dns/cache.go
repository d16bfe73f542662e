package dns

import (
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	// cacheBytes bounds the packed answers, maxEntry one of them; entryCost is
	// what an entry takes besides.
	cacheBytes = 2 << 20
	maxEntry   = 8 << 10
	entryCost  = 200
	// How long answers, and those that say that there is nothing (RFC 2308), are
	// kept at most.
	maxPositive = time.Hour
	maxNegative = 5 * time.Minute
)

// key is a question as the cache tells them apart. scope is 0 for what the host's
// resolvers said, else the container that alone may see it.
type key struct {
	scope uint64
	name  string
	qtype uint16
	flags uint8
}

const (
	flagDO = 1 << iota
	flagCD
	flagAD
	// flagAlone marks a question that is not cached nor shared with others.
	flagAlone
)

func (q *query) key(scope uint64) key {
	k := key{scope: scope, name: strings.ToLower(q.question.Name), qtype: q.question.Qtype}
	if q.opt != nil && q.opt.Do() {
		k.flags |= flagDO
	}
	if q.CheckingDisabled {
		k.flags |= flagCD
	}
	if q.AuthenticatedData {
		k.flags |= flagAD
	}
	if !q.RecursionDesired || len(q.options()) > 0 {
		k.flags |= flagAlone
	}
	return k
}

// options are the EDNS options that go upstream. A cookie is between neighbours
// only (RFC 7873), and padding hides nothing here.
func (q *query) options() []dns.EDNS0 {
	if q.opt == nil {
		return nil
	}
	var out []dns.EDNS0
	for _, o := range q.opt.Option {
		if c := o.Option(); c != dns.EDNS0COOKIE && c != dns.EDNS0PADDING && c != dns.EDNS0TCPKEEPALIVE {
			out = append(out, o)
		}
	}
	return out
}

// cache holds packed answers in two generations: when the young one is full the
// old one goes, except for what was asked for meanwhile. The zero value is empty.
type cache struct {
	mu         sync.Mutex
	young, old map[key]entry
	bytes      int // of young
}

type entry struct {
	packed     []byte
	at, expiry time.Time
}

// get returns a new copy of an answer whose times to live are what is left.
func (c *cache) get(k key, now time.Time) (*dns.Msg, bool) {
	if k.flags&flagAlone != 0 {
		return nil, false
	}
	c.mu.Lock()
	e, ok := c.young[k]
	if !ok {
		if e, ok = c.old[k]; ok {
			delete(c.old, k)
			c.store(k, e)
		}
	}
	c.mu.Unlock()
	if !ok || !now.Before(e.expiry) {
		return nil, false
	}
	m := new(dns.Msg)
	if m.Unpack(e.packed) != nil {
		return nil, false
	}
	age := uint32(now.Sub(e.at) / time.Second)
	for _, section := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range section {
			if h := rr.Header(); h.Rrtype != dns.TypeOPT {
				h.Ttl -= min(age, h.Ttl)
			}
		}
	}
	return m, true
}

// put keeps an answer for as long as it says, if it may be kept.
func (c *cache) put(k key, m *dns.Msg, now time.Time) {
	keep := lifetime(m)
	if keep <= 0 || k.flags&flagAlone != 0 {
		return
	}
	packed, err := m.Pack()
	if err != nil || len(packed) > maxEntry {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.old, k)
	c.store(k, entry{packed: packed, at: now, expiry: now.Add(keep)})
}

func (c *cache) store(k key, e entry) {
	cost := len(e.packed) + len(k.name) + entryCost
	if before, ok := c.young[k]; ok {
		c.bytes -= len(before.packed) + len(k.name) + entryCost
	} else if c.bytes+cost > cacheBytes/2 {
		c.old, c.young, c.bytes = c.young, nil, 0
	}
	if c.young == nil {
		c.young = map[key]entry{}
	}
	c.young[k] = e
	c.bytes += cost
}

// lifetime is how long an answer may be kept.
func lifetime(m *dns.Msg) time.Duration {
	if m.Truncated || m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError {
		return 0
	}
	least := uint32(maxPositive / time.Second)
	var soa *dns.SOA
	for _, section := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range section {
			if h := rr.Header(); h.Rrtype != dns.TypeOPT {
				least = min(least, h.Ttl)
			}
		}
	}
	if m.Rcode == dns.RcodeSuccess && len(m.Answer) > 0 {
		return time.Duration(least) * time.Second
	}
	for _, rr := range m.Ns {
		if s, ok := rr.(*dns.SOA); ok {
			soa = s
		}
	}
	if soa == nil {
		return 0 // a referral, or nothing that says how long it holds
	}
	return min(time.Duration(min(least, soa.Minttl))*time.Second, maxNegative)
}
