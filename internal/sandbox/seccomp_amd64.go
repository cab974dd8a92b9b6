package sandbox

import "golang.org/x/sys/unix"

// x32 marks the system call numbers of the x32 ABI, which has the audit
// architecture of x86-64.
const x32 = 0x40000000

// abis are x86-64 with x32, and i386, whose numbers are in the kernel's
// arch/x86/entry/syscalls/syscall_32.tbl.
var abis = []abi{
	{
		arch: unix.AUDIT_ARCH_X86_64,
		chown: []uint32{
			unix.SYS_CHOWN, unix.SYS_FCHOWN, unix.SYS_LCHOWN, unix.SYS_FCHOWNAT,
			x32 | unix.SYS_CHOWN, x32 | unix.SYS_FCHOWN, x32 | unix.SYS_LCHOWN, x32 | unix.SYS_FCHOWNAT,
		},
		sync: []uint32{
			unix.SYS_SYNC, unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_SYNCFS, unix.SYS_SYNC_FILE_RANGE, unix.SYS_MSYNC,
			x32 | unix.SYS_SYNC, x32 | unix.SYS_FSYNC, x32 | unix.SYS_FDATASYNC, x32 | unix.SYS_SYNCFS,
			x32 | unix.SYS_SYNC_FILE_RANGE, x32 | unix.SYS_MSYNC,
		},
		ioctl: []uint32{unix.SYS_IOCTL, x32 | unix.SYS_IOCTL, x32 | 514},
	},
	{
		arch:  unix.AUDIT_ARCH_I386,
		chown: []uint32{16, 95, 182, 198, 207, 212, 298}, // lchown, fchown, chown, the same with 32 bits, fchownat
		sync:  []uint32{36, 118, 144, 148, 314, 344},     // sync, fsync, msync, fdatasync, sync_file_range, syncfs
		ioctl: []uint32{54},
	},
}
