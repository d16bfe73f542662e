package seccomp

import (
	"cmp"
	"slices"

	"golang.org/x/sys/unix"
)

// The compiler runs in the shim, whose memory is counted, so it works on a few
// flat slices instead of a tree of small objects.

// entry says that a rule speaks of a call number.
type entry struct {
	nr   uint32
	rule uint16
	mux  uint8 // 0: the call itself; else socketcall or ipc with this first argument
}

// span is a range of system call numbers, up to the next span: the entries are
// tried in order, then the action counts.
type span struct {
	from     uint32
	action   uint32
	branches []entry // those with conditions
}

func (s *span) same(o *span) bool {
	return len(s.branches) == 0 && len(o.branches) == 0 && s.action == o.action
}

// profile is what the compiler works on.
type profile struct {
	rules    []rule
	fallback uint32
	rows     []int16 // of every name of every rule, its row in the tables, or missing
}

const missing = -1

func newProfile(rules []rule, fallback uint32) *profile {
	n := 0
	for i := range rules {
		n += len(rules[i].names)
	}
	p := &profile{rules: rules, fallback: fallback, rows: make([]int16, 0, n)}
	for i := range rules {
		for _, name := range rules[i].names {
			p.rows = append(p.rows, row(name))
		}
	}
	return p
}

// spans lists what happens to every number of one audit architecture, in order.
func (p *profile) spans(abis []*abi) []span {
	entries := p.collect(abis)
	list := make([]span, 0, 256)
	add := func(s span) {
		if len(list) == 0 || !list[len(list)-1].same(&s) {
			list = append(list, s)
		}
	}
	next := uint32(0)
	for i := 0; i < len(entries); {
		nr, end := entries[i].nr, i+1
		for end < len(entries) && entries[end].nr == nr {
			end++
		}
		if nr > next {
			add(span{from: next, action: p.fallback})
		}
		add(p.settle(entries[i:end]))
		next, i = nr+1, end
	}
	add(span{from: next, action: p.fallback})

	if abis[0].audit == unix.AUDIT_ARCH_X86_64 && len(abis) == 1 {
		// x32 calls reach the same kernel code by other numbers.
		list = overlay(list, x32Bit, noCall, unix.SECCOMP_RET_KILL_PROCESS)
	}
	if denies(p.fallback) {
		for _, a := range abis {
			list = a.unknownCalls(list, entries)
		}
	}
	return list
}

// collect lists the entries of some ABIs by number, and those of one number so
// that the first that matches is the one that counts.
func (p *profile) collect(abis []*abi) []entry {
	entries := make([]entry, 0, len(abis)*len(p.rows)+64)
	for _, a := range abis {
		k := 0
		for i := range p.rules {
			r := &p.rules[i]
			for _, name := range r.names {
				if nr, ok := a.number(p.rows[k]); ok {
					entries = append(entries, entry{nr: nr, rule: uint16(i)})
				}
				k++
				if !a.muxed {
					continue
				}
				if call, number, ok := r.muxed(name); ok {
					if nr, ok := a.number(row(call)); ok {
						entries = append(entries, entry{nr, uint16(i), number})
					}
				}
			}
		}
	}
	slices.SortFunc(entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.nr, b.nr),
			cmp.Compare(strictness(p.rules[a.rule].action), strictness(p.rules[b.rule].action)),
			cmp.Compare(b.rule, a.rule)) // later rules win among equals
	})
	return entries
}

// settle makes the span of one number and cuts off what can never be reached.
func (p *profile) settle(list []entry) span {
	s := span{from: list[0].nr, action: p.fallback, branches: list}
	for i, e := range list {
		if e.mux == 0 && len(p.rules[e.rule].when) == 0 {
			s.action, s.branches = p.rules[e.rule].action, list[:i]
			break
		}
	}
	// Conditions at the end that lead to where the rest leads say nothing.
	for n := len(s.branches); n > 0 && p.rules[s.branches[n-1].rule].action == s.action; n-- {
		s.branches = s.branches[:n-1]
	}
	return s
}

// unknownCalls makes the numbers behind the last one that the profile names fail
// with ENOSYS.
func (a *abi) unknownCalls(list []span, entries []entry) []span {
	last, found := uint32(0), false
	for _, e := range entries {
		if e.nr >= a.bit && e.nr < a.end {
			last, found = e.nr, true
		}
	}
	if !found {
		return list // the profile names nothing: no age can be told
	}
	return overlay(list, last+1, a.end, unix.SECCOMP_RET_ERRNO|uint32(unix.ENOSYS))
}

// overlay puts one action over the numbers from up to, not including, end.
func overlay(list []span, from, end uint32, action uint32) []span {
	if from >= end {
		return list
	}
	first, _ := slices.BinarySearchFunc(list, from, func(s span, n uint32) int { return cmp.Compare(s.from, n) })
	after, exact := slices.BinarySearchFunc(list, end, func(s span, n uint32) int { return cmp.Compare(s.from, n) })
	put := []span{{from: from, action: action}}
	if !exact {
		rest := list[after-1]
		rest.from = end
		put = append(put, rest)
	}
	return slices.Replace(list, first, after, put...)
}
