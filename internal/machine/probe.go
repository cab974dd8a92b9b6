package machine

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// probes ask this host what it can do.
type probes struct {
	kvm     func() error
	vsock   func() (*os.File, error)
	claim   func(device *os.File, cid uint32) error
	ioUring func() bool
	vmspawn func(t tools, program string) (version string, err error)
	// registry is the socket of systemd-machined, if it is not in its usual place.
	registry string
}

// hostProbes are the probes of this host.
var hostProbes = probes{kvm: probeKVM, vsock: openVSock, claim: claimCID, ioUring: probeIOUring, vmspawn: probeVmspawn}

// Requests of linux/kvm.h and linux/vhost.h.
const (
	kvmGetAPIVersion = 0xae00
	kvmCreateVM      = 0xae01
	kvmAPIVersion    = 12 // the only one since Linux 2.6.22
	vsockSetGuestCID = 0x4008af60
)

// probeKVM makes a virtual machine without anything in it, which is the only proof that KVM works: the device is there on
// many machines whose processor cannot, or may not, do it. The error says why it does not.
func probeKVM() error {
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	version, err := unix.IoctlRetInt(int(f.Fd()), kvmGetAPIVersion)
	if err != nil {
		return &os.PathError{Op: "asking for the version of", Path: "/dev/kvm", Err: err}
	}
	if version != kvmAPIVersion {
		return fmt.Errorf("/dev/kvm has version %d of its interface, not %d", version, kvmAPIVersion)
	}
	vm, err := unix.IoctlRetInt(int(f.Fd()), kvmCreateVM)
	if err != nil {
		return &os.PathError{Op: "making a virtual machine with", Path: "/dev/kvm", Err: err}
	}
	return unix.Close(vm)
}

// openVSock opens the device that gives guests a VSOCK device.
func openVSock() (*os.File, error) { return os.OpenFile("/dev/vhost-vsock", os.O_RDWR, 0) }

// claimCID gives the guest of a device its connection identifier, which is free again once the device is closed
// everywhere. It wraps unix.EADDRINUSE if another guest has it.
func claimCID(device *os.File, cid uint32) error {
	id := uint64(cid)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, device.Fd(), vsockSetGuestCID, uintptr(unsafe.Pointer(&id))); errno != 0 {
		return &os.PathError{Op: "claiming a connection identifier of", Path: device.Name(), Err: errno}
	}
	return nil
}

// probeIOUring reports whether a process may use io_uring(7), which many systems forbid, and QEMU does not do without
// once it was asked for it.
func probeIOUring() bool {
	var params [120]byte // struct io_uring_params
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&params)), 0)
	if errno != 0 {
		return false
	}
	return unix.Close(int(fd)) == nil
}

// directIO reports whether a file can be read and written past the cache of the kernel: its file system knows how, and
// it consists of whole blocks of any size that a disk may have.
func directIO(path string) bool {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECT|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && st.Size%4096 == 0
}

// isBusy reports whether another guest has a connection identifier.
func isBusy(err error) bool { return errors.Is(err, unix.EADDRINUSE) }
