#include "textflag.h"

// The program that is explained in initprogram.go: pid 1 of a container, or the first of
// its processes. No Go, no stack but the kernel's.
//
//	BX argv, later: the child has ended   R12 envp   R13 data   R14 child, or candidate
//	R15 status of the child, or exit code   R9 scratch: set, old set, status, pid
TEXT ·initText(SB), NOSPLIT|NOFRAME, $0
	MOVQ (SP), AX          // argc
	LEAQ 24(SP), BX        // behind "init --"
	LEAQ 16(SP)(AX*8), R12
	MOVL $0x400400, R13    // dataAddress
	LEAQ -256(SP), R9

	// All signals wait, but for those that are about this process's own faults:
	// ILL, TRAP, ABRT, BUS, FPE, SEGV, SYS.
	MOVQ $-0x400004f9, AX
	MOVQ AX, 0(R9)
	MOVL $2, DI            // SIG_SETMASK
	MOVQ R9, SI
	LEAQ 8(R9), DX
	MOVL $8, R10
	MOVL $14, AX           // rt_sigprocmask
	SYSCALL

	// In a PID namespace of others orphans come here, too.
	MOVL $36, DI           // PR_SET_CHILD_SUBREAPER
	MOVL $1, SI
	XORL DX, DX
	XORL R10, R10
	XORL R8, R8
	MOVL $157, AX          // prctl
	SYSCALL

	MOVL $57, AX           // fork
	SYSCALL
	TESTQ AX, AX
	JLT  failed
	JEQ  child
	MOVQ AX, R14
	XORL BX, BX

wait:
	MOVQ R9, DI
	XORL SI, SI
	XORL DX, DX
	MOVL $8, R10
	MOVL $128, AX          // rt_sigtimedwait
	SYSCALL
	TESTQ AX, AX
	JLE  wait
	CMPQ AX, $17           // SIGCHLD
	JEQ  reap
	MOVQ R14, DI
	MOVQ AX, SI
	MOVL $62, AX           // kill
	SYSCALL
	JMP  wait

reap:
	MOVQ $-1, DI
	LEAQ 16(R9), SI
	MOVL $1, DX            // WNOHANG
	XORL R10, R10
	MOVL $61, AX           // wait4
	SYSCALL
	TESTQ AX, AX
	JLE  reaped
	CMPQ AX, R14
	JNE  reap
	MOVL 16(R9), R15
	MOVL $1, BX
	JMP  reap

reaped:
	TESTL BX, BX
	JEQ  wait
	MOVL R15, DI
	ANDL $0x7f, DI
	JEQ  exited
	ADDL $128, DI
	JMP  exit

exited:
	MOVL R15, DI
	SHRL $8, DI
	ANDL $0xff, DI
	JMP  exit

failed:
	MOVL $125, DI

exit:
	MOVL $231, AX          // exit_group
	SYSCALL
	JMP  exit

	// The child leads a process group, in the foreground of the terminal if there is one.
child:
	XORL DI, DI
	XORL SI, SI
	MOVL $109, AX          // setpgid
	SYSCALL
	MOVL $39, AX           // getpid
	SYSCALL
	MOVL AX, 24(R9)
	XORL DI, DI
	MOVL $0x5410, SI       // TIOCSPGRP
	LEAQ 24(R9), DX
	MOVL $16, AX           // ioctl
	SYSCALL
	MOVL $2, DI
	LEAQ 8(R9), SI
	XORL DX, DX
	MOVL $8, R10
	MOVL $14, AX           // rt_sigprocmask
	SYSCALL

	MOVL 16(R13), R14
	ADDQ R13, R14
	MOVL $127, R15

next:
	CMPB (R14), $0
	JEQ  report
	MOVQ R14, DI
	MOVQ BX, SI
	MOVQ R12, DX
	MOVL $59, AX           // execve
	SYSCALL
	CMPQ AX, $-2           // ENOENT
	JEQ  skip
	CMPQ AX, $-20          // ENOTDIR
	JEQ  skip
	MOVL $126, R15
	CMPQ AX, $-13          // EACCES
	JNE  report

skip:
	INCQ R14
	CMPB -1(R14), $0
	JNE  skip
	JMP  next

report:
	LEAQ 0(R13), BX        // offset and length of the words for 127
	CMPL R15, $127
	JEQ  say
	ADDQ $8, BX            // for 126

say:
	MOVL $2, DI
	MOVL 0(BX), SI
	ADDQ R13, SI
	MOVL 4(BX), DX
	MOVL $1, AX            // write
	SYSCALL
	MOVL R15, DI
	JMP  exit
	QUAD $0x646e65706d617274 // endMark

// func initAddress() uintptr
TEXT ·initAddress(SB), NOSPLIT, $0-8
	LEAQ ·initText(SB), AX
	MOVQ AX, ret+0(FP)
	RET
