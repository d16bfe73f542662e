package launch

import (
	"errors"
	"syscall"
	"unsafe"
)

// Slot is a register of the child. It holds the result of an operation.
type Slot uint8

const (
	none Slot = 0

	// Report holds the child's end of the report socket. A program that moves the
	// descriptor stores its new number here.
	Report Slot = 1

	// Errno holds the errno of the last call that failed and was tolerated.
	Errno Slot = 2

	// peer holds the parent's end of the report socket, of which the child has a copy:
	// see Orphan.
	peer Slot = 3

	firstFree = 4
	lastSlot  = 255
)

// Arg is an argument of an operation: a number known to the parent, or a slot.
type Arg struct {
	value uintptr
	slot  Slot
}

// Int is a number as an argument. Negative numbers (AT_FDCWD) are sign-extended.
func Int(n int) Arg { return Arg{value: uintptr(n)} }

// Word is a machine word as an argument: flags, masks.
func Word(n uintptr) Arg { return Arg{value: n} }

// In is the content of a slot as an argument.
func In(s Slot) Arg { return Arg{slot: s} }

// kind is what an operation does.
type kind uint8

const (
	opCall   kind = iota // a system call
	opGoto               // jump to target
	opIfZero             // jump to target if the slot is 0
	opIfNot              // jump to target if the slot is not the value in args[1]
	opSet                // slot := args[0]
	opLoad               // slot := the 32-bit word at args[0], masked with args[1]
	opStore              // the 32-bit word at args[0] := args[1]
	opFail               // report args[0] as errno and exit
	opExit               // exit with status args[0]
)

// anyErrno in op.allow tolerates every errno.
const anyErrno = 0xffff

// op is one operation. The child reads it, so it holds no Go pointer.
type op struct {
	args   [6]uintptr
	nr     uint16    // number of the system call
	allow  [2]uint16 // errnos that jump to target instead of failing; 0 is none
	target uint16    // label while building, index of an operation afterwards
	kind   kind
	mask   uint8 // bit i: args[i] is the number of a slot
	out    Slot
}

// Hint is what a user can do about an errno at a Site.
type Hint struct {
	Errno syscall.Errno // 0: any
	Text  string
}

// Site tells the user what was being done. Operations belong to the Site that
// was current when they were added.
type Site struct {
	What  string // "mount /srv/x at /data"
	Hints []Hint
	Class error // errors.Is(failure, Class) holds, if not nil
}

// Program is a finished list of operations. It is used for one Start.
type Program struct {
	region region
	ops    []op
	sites  []Site
	where  []uint16 // for each operation the index of its site
	arena  arena
}

// Label is a place in a program to jump to.
type Label uint16

// Builder makes a Program. The first mistake is kept and returned by Finish.
type Builder struct {
	p      *Program
	site   uint16
	labels []int
	free   []Slot
	next   int
	err    error
}

// NewBuilder returns an empty Builder.
func NewBuilder() *Builder {
	r := newRegion()
	b := &Builder{
		p: &Program{
			region: r,
			ops:    r.ops(),
			// It fits without growing: what is left behind by that would stay in a
			// supervisor's memory.
			where: make([]uint16, 0, usualOps),
			sites: make([]Site, 0, 64),
		},
		next: firstFree,
	}
	if data := r.data(); data != nil {
		b.p.arena.chunks = [][]byte{data}
	}
	b.At("set up the process")
	return b
}

// At names what the following operations do.
func (b *Builder) At(what string, hints ...Hint) {
	b.AtSite(Site{What: what, Hints: hints})
}

// AtSite is At for a Site with a class.
func (b *Builder) AtSite(s Site) {
	b.p.sites = append(b.p.sites, s)
	b.site = uint16(len(b.p.sites) - 1)
}

// Slot reserves a register.
func (b *Builder) Slot() Slot {
	if n := len(b.free); n > 0 {
		s := b.free[n-1]
		b.free = b.free[:n-1]
		return s
	}
	if b.next > lastSlot {
		b.fail("launch program: it needs more than 251 slots at once")
		return lastSlot
	}
	b.next++
	return Slot(b.next - 1)
}

// Free gives registers back. Their descriptors are not closed.
func (b *Builder) Free(slots ...Slot) { b.free = append(b.free, slots...) }

// Label makes a label; Mark says where it is.
func (b *Builder) Label() Label {
	b.labels = append(b.labels, -1)
	return Label(len(b.labels) - 1)
}

// Mark puts l before the next operation.
func (b *Builder) Mark(l Label) { b.labels[l] = len(b.p.ops) }

func (b *Builder) fail(text string) {
	if b.err == nil {
		b.err = errors.New(text)
	}
}

func (b *Builder) add(o op) Step {
	b.p.ops = append(b.p.ops, o)
	b.p.where = append(b.p.where, b.site)
	return Step{b, len(b.p.ops) - 1}
}

// Step is an operation just added, for its refinements.
type Step struct {
	b *Builder
	i int
}

// Into stores the result in slot; a tolerated failure leaves the slot alone.
func (s Step) Into(slot Slot) Step {
	s.b.p.ops[s.i].out = slot
	return s
}

// Else jumps to l when the call fails with one of at most two errnos; with none
// given, on any failure.
func (s Step) Else(l Label, errnos ...syscall.Errno) Step {
	o := &s.b.p.ops[s.i]
	o.target = uint16(l)
	if len(errnos) == 0 {
		o.allow[0] = anyErrno
	}
	if len(errnos) > len(o.allow) {
		s.b.fail("launch program: a call tolerates at most two errnos")
		return s
	}
	for i, e := range errnos {
		o.allow[i] = uint16(e)
	}
	return s
}

// Ignore goes on with the next operation when the call fails with one of at most
// two errnos; with none given, on any failure.
func (s Step) Ignore(errnos ...syscall.Errno) Step {
	l := s.b.Label()
	s.Else(l, errnos...)
	s.b.Mark(l)
	return s
}

// Call adds a system call. EINTR repeats it.
func (b *Builder) Call(nr uintptr, args ...Arg) Step {
	o := op{kind: opCall, nr: uint16(nr)}
	o.set(args)
	return b.add(o)
}

func (o *op) set(args []Arg) {
	for i, a := range args {
		o.args[i] = a.value
		if a.slot != none {
			o.mask |= 1 << i
			o.args[i] = uintptr(a.slot)
		}
	}
}

func (b *Builder) control(k kind, out Slot, l Label, args ...Arg) {
	o := op{kind: k, out: out, target: uint16(l)}
	o.set(args)
	b.add(o)
}

// Goto jumps to l.
func (b *Builder) Goto(l Label) { b.control(opGoto, none, l) }

// IfZero jumps to l if s holds 0.
func (b *Builder) IfZero(s Slot, l Label) { b.control(opIfZero, none, l, In(s)) }

// IfNot jumps to l if s does not hold v.
func (b *Builder) IfNot(s Slot, v uintptr, l Label) { b.control(opIfNot, none, l, In(s), Word(v)) }

// Set puts a value into s.
func (b *Builder) Set(s Slot, v Arg) { b.control(opSet, s, 0, v) }

// Load puts the masked 32-bit word at m+offset into s.
func (b *Builder) Load(s Slot, m Memory, offset int, mask uint32) {
	b.control(opLoad, s, 0, m.at(offset), Word(uintptr(mask)))
}

// Store writes v as the 32-bit word at m+offset.
func (b *Builder) Store(m Memory, offset int, v Arg) { b.control(opStore, none, 0, m.at(offset), v) }

// Fail reports errno for the current Site and ends the child.
func (b *Builder) Fail(errno syscall.Errno) { b.FailWith(Word(uintptr(errno))) }

// FailWith is Fail with an errno from a slot.
func (b *Builder) FailWith(errno Arg) { b.control(opFail, none, 0, errno) }

// Exit ends the process that executes it.
func (b *Builder) Exit(status int) { b.control(opExit, none, 0, Int(status)) }

// Finish returns the Program. The Builder must not be used any more.
func (b *Builder) Finish() (*Program, error) {
	if len(b.p.ops) > 0xffff {
		b.fail("launch program: more than 65,535 operations")
	}
	if b.err != nil {
		return nil, b.err
	}
	// A program that runs off its end is a defect; end the child, not the Go runtime in it.
	b.Fail(syscall.ENOEXEC)
	for i := range b.p.ops {
		o := &b.p.ops[i]
		jumps := o.kind == opGoto || o.kind == opIfZero || o.kind == opIfNot || o.allow[0] != 0
		if !jumps {
			continue
		}
		to := b.labels[o.target]
		if to < 0 {
			return nil, errors.New("launch program: a label has no place")
		}
		o.target = uint16(to)
	}
	return b.p, nil
}

// arena holds the bytes that operations point to. Chunks never move and are kept
// alive by the Program; they lie close together, so that the child's copies of
// written pages stay few.
type arena struct {
	chunks [][]byte
	used   int
}

const chunkSize = 8 << 10

func (a *arena) alloc(n int) []byte {
	const align = 8
	a.used = (a.used + align - 1) &^ (align - 1)
	if len(a.chunks) == 0 || a.used+n > len(a.chunks[len(a.chunks)-1]) {
		// Words, not bytes: the allocator aligns to the element's size.
		words := make([]uint64, (max(n, chunkSize)+align-1)/align)
		a.chunks = append(a.chunks, unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), len(words)*align))
		a.used = 0
	}
	mem := a.chunks[len(a.chunks)-1][a.used : a.used+n : a.used+n]
	a.used += n
	return mem
}

// Memory is a piece of the program's memory. The child has its own copy.
type Memory struct{ bytes []byte }

// Space reserves n zero bytes, aligned for any kernel structure.
func (b *Builder) Space(n int) Memory { return Memory{b.p.arena.alloc(max(n, 1))} }

// Data copies bytes into the program.
func (b *Builder) Data(data []byte) Memory {
	m := b.Space(len(data))
	copy(m.bytes, data)
	return m
}

// Bytes is the memory as the parent sees it.
func (m Memory) Bytes() []byte { return m.bytes }

// Addr is the memory's address as an argument.
func (m Memory) Addr() Arg { return m.at(0) }

func (m Memory) at(offset int) Arg {
	return Arg{value: uintptr(unsafe.Pointer(unsafe.SliceData(m.bytes[offset:])))}
}

// Str copies s into the program as a C string.
func (b *Builder) Str(s string) Arg {
	for i := 0; i < len(s); i++ {
		if s[i] == 0 {
			b.fail("a text with a NUL byte cannot be passed to the kernel: " + quoteNUL(s))
			return Arg{}
		}
	}
	m := b.Space(len(s) + 1)
	copy(m.bytes, s)
	return m.Addr()
}

// Strs copies a list of strings as a NULL-terminated array of C strings.
func (b *Builder) Strs(list []string) Arg {
	const word = int(unsafe.Sizeof(uintptr(0)))
	m := b.Space((len(list) + 1) * word)
	for i, s := range list {
		a := b.Str(s)
		*(*uintptr)(unsafe.Pointer(&m.bytes[i*word])) = a.value
	}
	return m.Addr()
}

func quoteNUL(s string) string {
	out := []byte(s[:min(len(s), 80)])
	for i, c := range out {
		if c == 0 {
			out[i] = '?'
		}
	}
	return string(out)
}
