#include "textflag.h"

// The kernel calls this as C: it writes the signal's number, one byte, and changes
// nothing but what rt_sigreturn restores.
TEXT ·onSignal(SB), NOSPLIT|NOFRAME, $0
	MOVB DI, -8(SP)
	MOVL ·signalPipe(SB), DI
	LEAQ -8(SP), SI
	MOVL $1, DX
	MOVL $1, AX // write
	SYSCALL
	RET         // to signalReturn, which the kernel put there

// The same, but a signal of the kernel's own (a key of the terminal, its end) is not
// taken: it reaches the whole process group.
TEXT ·onSent(SB), NOSPLIT|NOFRAME, $0
	CMPL 8(SI), $0 // si_code: positive is the kernel's
	JLE  2(PC)
	RET
	JMP  ·onSignal(SB)

TEXT ·onReturn(SB), NOSPLIT|NOFRAME, $0
	MOVL $15, AX // rt_sigreturn
	SYSCALL
	INT  $3

// func signalHandler() uintptr
TEXT ·signalHandler(SB), NOSPLIT, $0-8
	LEAQ ·onSignal(SB), AX
	MOVQ AX, ret+0(FP)
	RET

// func signalReturn() uintptr
TEXT ·signalReturn(SB), NOSPLIT, $0-8
	LEAQ ·onReturn(SB), AX
	MOVQ AX, ret+0(FP)
	RET

// func sentHandler() uintptr
TEXT ·sentHandler(SB), NOSPLIT, $0-8
	LEAQ ·onSent(SB), AX
	MOVQ AX, ret+0(FP)
	RET
