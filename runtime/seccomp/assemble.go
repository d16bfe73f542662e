package seccomp

import (
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// The layout of struct seccomp_data; arguments have 64 bits, low half first.
const (
	dataNumber = 0
	dataArch   = 4
	dataArgs   = 16
	argSize    = 8
	highHalf   = 4
)

// The instructions we need. The kernel works out ahead of time which calls a
// filter allows whatever their arguments (Linux 5.11), as long as the way there
// holds only these; such calls then cost nothing.
const (
	opLoad = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	opRet  = unix.BPF_RET | unix.BPF_K
	opJump = unix.BPF_JMP | unix.BPF_JA
	opJeq  = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	opJge  = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
	opJgt  = unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K
	opAnd  = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K
)

const (
	// maxShort is how far a conditional jump reaches.
	maxShort = 255
	// maxShared is how far back a return is used again; what is left up to
	// maxShort is room for the instructions that are put before the jump.
	maxShared = 200
)

// label is a place in the program, counted from its end.
type label int

// emitter builds the program from its end, so that the target of every jump is
// known when the jump is made. out is in reverse.
type emitter struct {
	out     []unix.SockFilter
	returns []label // one for each action, the last made
}

// put places an instruction before all others.
func (e *emitter) put(op uint16, k uint32) label {
	e.out = append(e.out, unix.SockFilter{Code: op, K: k})
	return label(len(e.out))
}

// begin makes sure that what is put next runs on into target.
func (e *emitter) begin(target label) {
	if target != label(len(e.out)) {
		e.put(opJump, uint32(len(e.out)-int(target)))
	}
}

// jump compares and goes to one of two places.
func (e *emitter) jump(op uint16, k uint32, yes, no label) label {
	for {
		// A far target gets a long jump near by, which moves the other away.
		switch at := label(len(e.out)); {
		case at-yes > maxShort:
			yes = e.put(opJump, uint32(at-yes))
		case at-no > maxShort:
			no = e.put(opJump, uint32(at-no))
		default:
			e.out = append(e.out, unix.SockFilter{Code: op, Jt: uint8(at - yes), Jf: uint8(at - no), K: k})
			return label(len(e.out))
		}
	}
}

// ret returns an action; a return near by is shared.
func (e *emitter) ret(action uint32) label {
	for i, l := range e.returns {
		if e.out[l-1].K != action {
			continue
		}
		if label(len(e.out))-l > maxShared {
			e.returns[i] = e.put(opRet, action)
		}
		return e.returns[i]
	}
	l := e.put(opRet, action)
	e.returns = append(e.returns, l)
	return l
}

// assemble makes the program: which architecture, then which number, then the
// arguments.
func (p *profile) assemble(listed []*abi) []unix.SockFilter {
	e := &emitter{out: make([]unix.SockFilter, 0, 512)}
	next := e.ret(unix.SECCOMP_RET_KILL_PROCESS)
	// The kernel's own architecture comes first, as almost all calls are its.
	for i := len(listed) - 1; i >= 0; i-- {
		if i > 0 && listed[i].audit == listed[i-1].audit {
			continue // x32 is part of x86-64
		}
		same := listed[i : i+1]
		if i+1 < len(listed) && listed[i+1].audit == listed[i].audit {
			same = listed[i : i+2]
		}
		e.begin(p.tree(e, p.spans(same), same[0].narrow))
		next = e.jump(opJeq, listed[i].audit, e.put(opLoad, dataNumber), next)
	}
	e.begin(next)
	e.put(opLoad, dataArch)
	slices.Reverse(e.out)
	return slices.Clip(e.out)
}

// tree finds the span of a number by binary search.
func (p *profile) tree(e *emitter, list []span, narrow bool) label {
	if len(list) == 1 {
		return p.leaf(e, &list[0], narrow)
	}
	mid := len(list) / 2
	high := p.tree(e, list[mid:], narrow)
	low := p.tree(e, list[:mid], narrow)
	return e.jump(opJge, list[mid].from, high, low)
}

// leaf tries the branches of a span in order.
func (p *profile) leaf(e *emitter, s *span, narrow bool) label {
	next := e.ret(s.action)
	for list := s.branches; len(list) > 0; {
		last := list[len(list)-1]
		r := &p.rules[last.rule]
		yes := e.ret(r.action)
		if last.mux != 0 {
			c := muxCondition(last.mux)
			next = e.test(&c, narrow, yes, next)
			list = list[:len(list)-1]
			continue
		}
		if n := p.equals(list, narrow); n > 1 {
			next = p.oneOf(e, list[len(list)-n:], narrow, yes, next)
			list = list[:len(list)-n]
			continue
		}
		for i := len(r.when) - 1; i >= 0; i-- {
			c := r.when[i]
			if narrow {
				c = c.cut()
			}
			yes = e.test(&c, narrow, yes, next)
		}
		next = yes
		list = list[:len(list)-1]
	}
	return next
}

// equals counts the entries at the end of the list that lead to the same action by
// one argument being equal to something with the same high half. Lists of
// allowed socket families are such, and need one instruction each that way.
func (p *profile) equals(list []entry, narrow bool) int {
	last := &p.rules[list[len(list)-1].rule]
	n := 0
	for n < len(list) {
		b := list[len(list)-1-n]
		r := &p.rules[b.rule]
		if b.mux != 0 || len(r.when) != 1 || r.action != last.action || r.when[0].op != specs.OpEqualTo ||
			r.when[0].index != last.when[0].index || !narrow && r.when[0].value>>32 != last.when[0].value>>32 {
			break
		}
		n++
	}
	return n
}

func (p *profile) oneOf(e *emitter, list []entry, narrow bool, yes, no label) label {
	var at label
	miss := no
	for i := len(list) - 1; i >= 0; i-- {
		at = e.jump(opJeq, uint32(p.rules[list[i].rule].when[0].value), yes, miss)
		miss = at
		// Long lists move away from the return they share.
		if len(e.out)-int(yes) > maxShared {
			yes = e.ret(p.rules[list[0].rule].action)
			e.begin(miss)
			miss = label(len(e.out))
		}
	}
	c := p.rules[list[0].rule].when[0]
	e.begin(miss)
	at = e.put(opLoad, c.at())
	if narrow {
		return at
	}
	e.jump(opJeq, uint32(c.value>>32), at, no)
	return e.put(opLoad, c.at()+highHalf)
}

// at is where the low half of a condition's argument lies.
func (c *condition) at() uint32 { return dataArgs + argSize*uint32(c.index) }

// cut takes the 32 bits that an argument of a 32-bit call has: profiles write -1
// as 64 bits.
func (c condition) cut() condition {
	c.value, c.mask = uint64(uint32(c.value)), uint64(uint32(c.mask))
	return c
}

// test goes to yes when the condition holds and to no otherwise.
func (e *emitter) test(c *condition, narrow bool, yes, no label) label {
	hi, lo := uint32(c.value>>32), uint32(c.value)
	switch c.op {
	case specs.OpNotEqual:
		return e.test(&condition{index: c.index, value: c.value, op: specs.OpEqualTo}, narrow, no, yes)
	case specs.OpLessThan:
		return e.test(&condition{index: c.index, value: c.value, op: specs.OpGreaterEqual}, narrow, no, yes)
	case specs.OpLessEqual:
		return e.test(&condition{index: c.index, value: c.value, op: specs.OpGreaterThan}, narrow, no, yes)
	case specs.OpMaskedEqual:
		e.jump(opJeq, lo, yes, no)
		e.put(opAnd, uint32(c.mask))
		at := e.put(opLoad, c.at())
		if narrow || c.mask>>32 == 0 {
			return at
		}
		e.jump(opJeq, hi, at, no)
		e.put(opAnd, uint32(c.mask>>32))
		return e.put(opLoad, c.at()+highHalf)
	}
	op := uint16(opJeq)
	switch c.op {
	case specs.OpGreaterThan:
		op = opJgt
	case specs.OpGreaterEqual:
		op = opJge
	}
	e.jump(op, lo, yes, no)
	at := e.put(opLoad, c.at())
	if narrow {
		return at
	}
	at = e.jump(opJeq, hi, at, no)
	if c.op != specs.OpEqualTo {
		e.jump(opJgt, hi, yes, at)
	}
	return e.put(opLoad, c.at()+highHalf)
}
