// Package dnsload asks a resolver for names at a steady rate from inside the
// network namespaces of several containers, and counts what came back. It needs
// nothing in the containers, so that it measures the resolvers of different
// engines and nothing else.
package dnsload

import (
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/sampan-containers/sampan/network/netns"
)

const (
	resolver = "127.0.0.11:53"
	// patience is how long an answer may take, as in resolv.conf(5).
	patience = 5 * time.Second
	// inFlight bounds the queries of one container that wait for their answers.
	inFlight = 256
)

// Load is what is asked.
type Load struct {
	Pids  []int    // processes whose network namespaces are asked from
	Names []string // asked in turn, for A
	Rate  int      // queries a second, over all
	Total int
}

// Result is what came of it.
type Result struct {
	Answered int
	Failures []string // the first few, in words
	Failed   int
	Times    []time.Duration // of the answers, sorted
	Took     time.Duration
}

// Quantile returns the time within which that share of the answers came.
func (r *Result) Quantile(q float64) time.Duration {
	if len(r.Times) == 0 {
		return 0
	}
	return r.Times[min(int(q*float64(len(r.Times))), len(r.Times)-1)]
}

// Add puts another run's outcome to this one.
func (r *Result) Add(o *Result) {
	r.Answered += o.Answered
	r.Failed += o.Failed
	r.Failures = append(r.Failures, o.Failures...)
	r.Times = append(r.Times, o.Times...)
	r.Took += o.Took
	slices.Sort(r.Times)
}

// sample is one query's outcome.
type sample struct {
	took time.Duration
	err  error
}

// Run asks and waits for every answer or its time-out.
func (l Load) Run() (*Result, error) {
	each := l.Total / len(l.Pids)
	pace := time.Second * time.Duration(len(l.Pids)) / time.Duration(l.Rate)
	samples := make(chan sample, l.Total)
	var wg sync.WaitGroup
	var conns []net.Conn
	for _, pid := range l.Pids {
		c, err := dial(pid)
		if err != nil {
			return nil, err
		}
		defer c.Close()
		conns = append(conns, c)
	}
	start := time.Now()
	for i, c := range conns {
		wg.Go(func() {
			// The containers do not ask in step.
			time.Sleep(pace * time.Duration(i) / time.Duration(len(conns)))
			l.ask(c, i, each, pace, samples)
		})
	}
	wg.Wait()
	res := &Result{Took: time.Since(start)}
	close(samples)
	for s := range samples {
		if s.err == nil {
			res.Answered++
			res.Times = append(res.Times, s.took)
			continue
		}
		if res.Failed++; len(res.Failures) < 5 {
			res.Failures = append(res.Failures, s.err.Error())
		}
	}
	slices.Sort(res.Times)
	return res, nil
}

// asked is a query that waits.
type asked struct {
	name string
	at   time.Time
}

// ask sends n queries over one socket and matches the answers by their ids.
func (l Load) ask(conn net.Conn, offset, n int, pace time.Duration, samples chan<- sample) {
	var mu sync.Mutex
	waiting := map[uint16]asked{}
	sent := make(chan struct{})
	slots := make(chan struct{}, inFlight)
	go func() {
		defer close(sent)
		next := time.Now()
		for i := range n {
			if d := time.Until(next); d > 0 {
				time.Sleep(d)
			}
			next = next.Add(pace)
			slots <- struct{}{}
			q := new(dns.Msg).SetQuestion(dns.Fqdn(l.Names[(offset+i)%len(l.Names)]), dns.TypeA)
			q.Id = uint16(i)
			packed, err := q.Pack()
			mu.Lock()
			waiting[q.Id] = asked{q.Question[0].Name, time.Now()}
			mu.Unlock()
			if err == nil {
				_, err = conn.Write(packed)
			}
			if err != nil {
				mu.Lock()
				delete(waiting, q.Id)
				mu.Unlock()
				samples <- sample{err: err}
				<-slots
			}
		}
	}()
	buf := make([]byte, dns.MaxMsgSize)
	last := time.Now()
	for done := 0; done < n; {
		select {
		case <-sent:
			mu.Lock()
			left := len(waiting)
			mu.Unlock()
			if left == 0 {
				return
			}
		default:
		}
		_ = conn.SetReadDeadline(time.Now().Add(patience / 10))
		k, err := conn.Read(buf)
		if err == nil {
			last = time.Now()
			if s, ok := match(&mu, waiting, buf[:k]); ok {
				samples <- s
				<-slots
				done++
			}
			continue
		}
		if time.Since(last) > patience {
			mu.Lock()
			for id, a := range waiting {
				delete(waiting, id)
				samples <- sample{err: fmt.Errorf("%s: no answer", a.name)}
				<-slots
				done++
			}
			mu.Unlock()
		}
	}
}

func match(mu *sync.Mutex, waiting map[uint16]asked, raw []byte) (sample, bool) {
	m := new(dns.Msg)
	if err := m.Unpack(raw); err != nil {
		return sample{err: err}, false
	}
	mu.Lock()
	defer mu.Unlock()
	a, ok := waiting[m.Id]
	if !ok {
		return sample{}, false
	}
	delete(waiting, m.Id)
	if m.Rcode != dns.RcodeSuccess || len(m.Answer) == 0 {
		return sample{err: fmt.Errorf("%s: %s with %d records", a.name, dns.RcodeToString[m.Rcode], len(m.Answer))}, true
	}
	return sample{took: time.Since(a.at)}, true
}

// dial opens a socket to the resolver in the process's network namespace.
func dial(pid int) (net.Conn, error) {
	var conn net.Conn
	err := Inside(pid, func() (err error) {
		conn, err = net.Dial("udp", resolver)
		return err
	})
	return conn, err
}

// Inside runs f on a thread in the process's network namespace.
func Inside(pid int, f func() error) error {
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return err
	}
	defer ns.Close()
	return netns.Do(ns, f)
}

// Upstream is a DNS server that gives every name the same address.
func Upstream(pc net.PacketConn) (stop func()) {
	server := &dns.Server{PacketConn: pc, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 300}, A: net.IPv4(192, 0, 2, 1)}}
		_ = w.WriteMsg(m)
	})}
	started := make(chan struct{})
	server.NotifyStartedFunc = func() { close(started) }
	go func() { _ = server.ActivateAndServe() }()
	<-started
	return func() { _ = server.Shutdown() }
}
