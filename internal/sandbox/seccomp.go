package sandbox

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// abi is one way of calling the kernel: its number in the audit architecture
// field of struct seccomp_data and its system calls.
type abi struct {
	arch  uint32
	chown []uint32 // the chown(2) family
	sync  []uint32 // the sync(2), fsync(2) and msync(2) family
	ioctl []uint32 // ioctl(2)
}

// Offsets in struct seccomp_data.
const (
	seccompNumber = 0
	seccompArch   = 4
	seccompArg1   = 24 // its lower half, where the processor is little-endian
)

// terminalInput are the ioctls that put characters into a terminal's input, as if
// the user had typed them for whoever reads there after the command.
var terminalInput = []uint32{unix.TIOCSTI, unix.TIOCLINUX}

// filterCalls forbids terminalInput and makes the kernel answer families of
// system calls with success without doing anything. It holds for the calling
// thread and what it starts from now on. The caller needs CAP_SYS_ADMIN. Where
// the architecture's system calls are not known, terminals are protected by the
// kernel alone (dev.tty.legacy_tiocsti=0, the default since Linux 6.2).
func filterCalls(chown, sync bool) error {
	if len(abis) == 0 && !chown && !sync {
		return nil
	}
	if len(abis) == 0 {
		return fmt.Errorf("suppressing system calls: not supported on %s", runtime.GOARCH)
	}
	program, err := bpf.Assemble(callFilter(abis, chown, sync))
	if err != nil {
		return fmt.Errorf("assembling the system call filter: %w", err)
	}
	filter := make([]unix.SockFilter, len(program))
	for i, ins := range program {
		filter[i] = unix.SockFilter{Code: ins.Op, Jt: ins.Jt, Jf: ins.Jf, K: ins.K}
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return fmt.Errorf("installing the system call filter: %w", errno)
	}
	return nil
}

// callFilter is the filter program: for each ABI, one comparison with each system
// call, then "allow".
func callFilter(abis []abi, chown, sync bool) []bpf.Instruction {
	allow := bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW}
	succeed := bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO} // with errno 0
	program := []bpf.Instruction{bpf.LoadAbsolute{Off: seccompArch, Size: 4}}
	for _, abi := range abis {
		var calls []uint32
		if chown {
			calls = append(calls, abi.chown...)
		}
		if sync {
			calls = append(calls, abi.sync...)
		}
		var body []bpf.Instruction
		input := inputFilter()
		rest := len(calls) + len(abi.ioctl)
		for _, nr := range calls {
			rest-- // comparisons, then "allow", are skipped
			body = append(body, bpf.JumpIf{Cond: bpf.JumpEqual, Val: nr, SkipTrue: uint8(rest + 1)})
		}
		for _, nr := range abi.ioctl {
			rest-- // "succeed" as well
			body = append(body, bpf.JumpIf{Cond: bpf.JumpEqual, Val: nr, SkipTrue: uint8(rest + 2)})
		}
		body = append(append(body, allow, succeed), input...)
		program = append(program,
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: abi.arch, SkipTrue: uint8(len(body) + 1)},
			bpf.LoadAbsolute{Off: seccompNumber, Size: 4})
		program = append(program, body...)
	}
	return append(program, allow)
}

// inputFilter decides about an ioctl. Of its number the kernel, too, looks at 32
// bits only.
func inputFilter() []bpf.Instruction {
	program := []bpf.Instruction{bpf.LoadAbsolute{Off: seccompArg1, Size: 4}}
	for i, nr := range terminalInput {
		program = append(program, bpf.JumpIf{Cond: bpf.JumpEqual, Val: nr, SkipTrue: uint8(len(terminalInput) - i)})
	}
	return append(program,
		bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW},
		bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)})
}
