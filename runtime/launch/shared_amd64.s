#include "textflag.h"

// func cloneShared(args *cloneArgs, size uintptr, m *machine) (pid, errno uintptr)
//
// The child begins with an empty stack of its own, at args.stack, and the caller's
// thread-local storage.
TEXT ·cloneShared(SB), NOSPLIT, $0-40
	MOVQ	args+0(FP), DI
	MOVQ	size+8(FP), SI
	MOVQ	m+16(FP), R12
	MOVQ	$435, AX	// clone3
	SYSCALL
	TESTQ	AX, AX
	JZ	child
	CMPQ	AX, $0xfffffffffffff001
	JCC	failed
	MOVQ	AX, pid+24(FP)
	MOVQ	$0, errno+32(FP)
	RET
failed:
	NEGQ	AX
	MOVQ	$0, pid+24(FP)
	MOVQ	AX, errno+32(FP)
	RET
child:
	XORL	BP, BP
	PUSHQ	R12
	CALL	·startShared(SB)
	INT	$3	// not reached
