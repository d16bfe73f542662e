#include "textflag.h"

// See initprogram.go and initprogram_amd64.s.
//
//	R19 argv, later: the child has ended   R20 envp   R21 data   R22 child, or candidate
//	R23 status of the child, or exit code   R24 scratch: set, old set, status, pid
TEXT ·initText(SB), NOSPLIT|NOFRAME, $0
	MOVD (RSP), R9         // argc
	MOVD RSP, R19
	ADD  $8, R19
	ADD  R9<<3, R19, R20
	ADD  $8, R20
	ADD  $16, R19          // behind "init --"
	MOVZ $0x400, R21       // dataAddress
	MOVK $(0x40<<16), R21
	MOVD RSP, R24
	SUB  $256, R24

	MOVD $-0x400004f9, R9
	MOVD R9, 0(R24)
	MOVZ $2, R0            // SIG_SETMASK
	MOVD R24, R1
	ADD  $8, R24, R2
	MOVZ $8, R3
	MOVZ $135, R8          // rt_sigprocmask
	SVC

	MOVZ $36, R0           // PR_SET_CHILD_SUBREAPER
	MOVZ $1, R1
	MOVD ZR, R2
	MOVD ZR, R3
	MOVD ZR, R4
	MOVZ $167, R8          // prctl
	SVC

	MOVZ $17, R0           // SIGCHLD
	MOVD ZR, R1
	MOVD ZR, R2
	MOVD ZR, R3
	MOVD ZR, R4
	MOVZ $220, R8          // clone
	SVC
	CMP  $0, R0
	BLT  failed
	BEQ  child
	MOVD R0, R22
	MOVD ZR, R19

wait:
	MOVD R24, R0
	MOVD ZR, R1
	MOVD ZR, R2
	MOVZ $8, R3
	MOVZ $137, R8          // rt_sigtimedwait
	SVC
	CMP  $0, R0
	BLE  wait
	CMP  $17, R0           // SIGCHLD
	BEQ  reap
	MOVD R0, R1
	MOVD R22, R0
	MOVZ $129, R8          // kill
	SVC
	B    wait

reap:
	MOVD $-1, R0
	ADD  $16, R24, R1
	MOVZ $1, R2            // WNOHANG
	MOVD ZR, R3
	MOVZ $260, R8          // wait4
	SVC
	CMP  $0, R0
	BLE  reaped
	CMP  R22, R0
	BNE  reap
	MOVWU 16(R24), R23
	MOVZ $1, R19
	B    reap

reaped:
	CBZ  R19, wait
	AND  $0x7f, R23, R0
	CBZ  R0, exited
	ADD  $128, R0
	B    exit

exited:
	LSR  $8, R23, R0
	AND  $0xff, R0
	B    exit

failed:
	MOVZ $125, R0

exit:
	MOVZ $94, R8           // exit_group
	SVC
	B    exit

child:
	MOVD ZR, R0
	MOVD ZR, R1
	MOVZ $154, R8          // setpgid
	SVC
	MOVZ $172, R8          // getpid
	SVC
	MOVW R0, 24(R24)
	MOVD ZR, R0
	MOVZ $0x5410, R1       // TIOCSPGRP
	ADD  $24, R24, R2
	MOVZ $29, R8           // ioctl
	SVC
	MOVZ $2, R0
	ADD  $8, R24, R1
	MOVD ZR, R2
	MOVZ $8, R3
	MOVZ $135, R8          // rt_sigprocmask
	SVC

	MOVWU 16(R21), R22
	ADD  R21, R22
	MOVZ $127, R23

next:
	MOVBU (R22), R9
	CBZ  R9, report
	MOVD R22, R0
	MOVD R19, R1
	MOVD R20, R2
	MOVZ $221, R8          // execve
	SVC
	NEG  R0, R0
	CMP  $2, R0            // ENOENT
	BEQ  skip
	CMP  $20, R0           // ENOTDIR
	BEQ  skip
	MOVZ $126, R23
	CMP  $13, R0           // EACCES
	BNE  report

skip:
	MOVBU.P 1(R22), R9
	CBNZ R9, skip
	B    next

report:
	MOVD R21, R19          // offset and length of the words for 127
	CMP  $127, R23
	BEQ  say
	ADD  $8, R19           // for 126

say:
	MOVZ $2, R0
	MOVWU 0(R19), R1
	ADD  R21, R1
	MOVWU 4(R19), R2
	MOVZ $64, R8           // write
	SVC
	MOVD R23, R0
	B    exit
	DWORD $0x646e65706d617274 // endMark

// func initAddress() uintptr
TEXT ·initAddress(SB), NOSPLIT, $0-8
	MOVD $·initText(SB), R0
	MOVD R0, ret+0(FP)
	RET
