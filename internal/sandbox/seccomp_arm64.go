package sandbox

import "golang.org/x/sys/unix"

// abis are arm64, and 32-bit ARM, whose numbers are in the kernel's
// arch/arm/tools/syscall.tbl.
var abis = []abi{
	{
		arch:  unix.AUDIT_ARCH_AARCH64,
		chown: []uint32{unix.SYS_FCHOWN, unix.SYS_FCHOWNAT},
		sync: []uint32{
			unix.SYS_SYNC, unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_SYNCFS, unix.SYS_SYNC_FILE_RANGE, unix.SYS_MSYNC,
		},
		ioctl: []uint32{unix.SYS_IOCTL},
	},
	{
		arch:  unix.AUDIT_ARCH_ARM,
		chown: []uint32{16, 95, 182, 198, 207, 212, 325}, // lchown, fchown, chown, the same with 32 bits, fchownat
		sync:  []uint32{36, 118, 144, 148, 341, 373},     // sync, fsync, msync, fdatasync, sync_file_range2, syncfs
		ioctl: []uint32{54},
	},
}
