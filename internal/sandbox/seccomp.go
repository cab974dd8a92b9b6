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
}

// Offsets in struct seccomp_data.
const (
	seccompNumber = 0
	seccompArch   = 4
)

// suppress makes the kernel answer families of system calls with success
// without doing anything. It holds for the calling thread and what it starts
// from now on. The caller needs CAP_SYS_ADMIN.
func suppress(chown, sync bool) error {
	if !chown && !sync {
		return nil
	}
	if len(abis) == 0 {
		return fmt.Errorf("suppressing system calls: not supported on %s", runtime.GOARCH)
	}
	program, err := bpf.Assemble(suppressFilter(abis, chown, sync))
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

// suppressFilter is the filter program: for each ABI, one comparison with each
// system call, then "allow".
func suppressFilter(abis []abi, chown, sync bool) []bpf.Instruction {
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
		n := len(calls)
		program = append(program,
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: abi.arch, SkipTrue: uint8(n + 3)},
			bpf.LoadAbsolute{Off: seccompNumber, Size: 4})
		for i, nr := range calls {
			program = append(program, bpf.JumpIf{Cond: bpf.JumpEqual, Val: nr, SkipTrue: uint8(n - i)})
		}
		program = append(program, allow, succeed)
	}
	return append(program, allow)
}
