#include "textflag.h"

// See trampoline.go and trampoline_amd64.s.
//
//	R19 argv   R20 envp   R21 data   R22 candidate   R23 errno to report
TEXT ·trampolineText(SB), NOSPLIT|NOFRAME, $0
	MOVD (RSP), R9        // argc
	MOVD RSP, R19
	ADD  $8, R19
	ADD  R9<<3, R19, R20
	ADD  $8, R20
	MOVZ $0x400, R21      // dataAddress
	MOVK $(0x40<<16), R21

	// fcntl(report, F_SETFD, FD_CLOEXEC)
	MOVWU (R21), R0
	MOVZ $2, R1
	MOVZ $1, R2
	MOVZ $25, R8
	SVC
	CBNZ R0, end

	ADD  $8, R21, R22
	MOVZ $2, R23          // ENOENT

next:
	MOVBU (R22), R9
	CBZ  R9, report
	MOVD R22, R0
	MOVD R19, R1
	MOVD R20, R2
	MOVZ $221, R8         // execve
	SVC
	NEG  R0, R0
	CMP  $2, R0           // ENOENT
	BEQ  skip
	CMP  $20, R0          // ENOTDIR
	BEQ  skip
	MOVD R0, R23
	CMP  $13, R0          // EACCES
	BNE  report

skip:
	MOVBU.P 1(R22), R9
	CBNZ R9, skip
	B    next

	// write(report, {Failed, number of the operation, errno, SYS_execve}, 16)
report:
	SUB  $16, RSP
	MOVZ $1, R9
	MOVW R9, 0(RSP)
	MOVWU 4(R21), R9
	MOVW R9, 4(RSP)
	MOVW R23, 8(RSP)
	MOVZ $221, R9
	MOVW R9, 12(RSP)
	MOVWU (R21), R0
	MOVD RSP, R1
	MOVZ $16, R2
	MOVZ $64, R8
	SVC

end:
	MOVZ $127, R0
	MOVZ $94, R8          // exit_group
	SVC
	B    end
	DWORD $0x646e65706d617274 // endMark

// func trampolineAddress() uintptr
TEXT ·trampolineAddress(SB), NOSPLIT, $0-8
	MOVD $·trampolineText(SB), R0
	MOVD R0, ret+0(FP)
	RET
