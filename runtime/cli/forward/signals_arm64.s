#include "textflag.h"

// See signals_amd64.s.
TEXT ·onSignal(SB), NOSPLIT|NOFRAME, $0
	SUB  $16, RSP
	MOVB R0, 0(RSP)
	MOVW ·signalPipe(SB), R0
	MOVD RSP, R1
	MOVD $1, R2
	MOVD $64, R8 // write
	SVC
	ADD  $16, RSP
	RET          // to signalReturn: the kernel put it into the link register

TEXT ·onSent(SB), NOSPLIT|NOFRAME, $0
	MOVW 8(R1), R2 // si_code
	CMPW $0, R2
	BLE  2(PC)
	RET
	JMP  ·onSignal(SB)

TEXT ·onReturn(SB), NOSPLIT|NOFRAME, $0
	MOVD $139, R8 // rt_sigreturn
	SVC
	BRK

// func signalHandler() uintptr
TEXT ·signalHandler(SB), NOSPLIT, $0-8
	MOVD $·onSignal(SB), R0
	MOVD R0, ret+0(FP)
	RET

// func signalReturn() uintptr
TEXT ·signalReturn(SB), NOSPLIT, $0-8
	MOVD $·onReturn(SB), R0
	MOVD R0, ret+0(FP)
	RET

// func sentHandler() uintptr
TEXT ·sentHandler(SB), NOSPLIT, $0-8
	MOVD $·onSent(SB), R0
	MOVD R0, ret+0(FP)
	RET
