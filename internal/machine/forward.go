package machine

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/config"
)

// forward is a TCP port of 127.0.0.1 that leads to one of the guest.
type forward struct {
	host, guest uint16
	held        *os.File // the socket that holds the port for QEMU
}

// Forwards reports whether ports of this host can lead to the guest.
func (m *Machine) Forwards() bool { return !m.vmspawn() && m.img.RuntimeNetwork == config.NetworkUser }

// AddForward has a TCP port of 127.0.0.1 lead to one of the guest, and returns which one: one that is free, and stays the
// machine's until it has run. It fails unless the machine can have forwards.
func (m *Machine) AddForward(guest uint16) (host uint16, err error) {
	if !m.Forwards() {
		return 0, errors.New("forwarding a port to the guest needs VirtualMachineMonitor=qemu and RuntimeNetwork=user")
	}
	f, err := holdPort()
	if err != nil {
		return 0, fmt.Errorf("looking for a port that leads to the guest: %w", err)
	}
	f.guest = guest
	m.forwards = append(m.forwards, f)
	return f.host, nil
}

// holdPort takes a free port of 127.0.0.1 with a socket that does not listen. The kernel gives such a port to nobody who
// asks for any that is free; but QEMU, which asks for it by its number and allows, as this socket does, that somebody else
// has the address (SO_REUSEADDR in socket(7)), may listen on it.
func holdPort() (forward, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return forward{}, os.NewSyscallError("socket", err)
	}
	held := os.NewFile(uintptr(fd), "port")
	address, err := bindLoopback(fd)
	if err != nil {
		return forward{}, errors.Join(err, held.Close())
	}
	return forward{host: uint16(address.Port), held: held}, nil
}

// bindLoopback binds a socket to a free port of 127.0.0.1 and returns its address.
func bindLoopback(fd int) (*unix.SockaddrInet4, error) {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return nil, os.NewSyscallError("setsockopt", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return nil, os.NewSyscallError("bind", err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return nil, os.NewSyscallError("getsockname", err)
	}
	address, ok := name.(*unix.SockaddrInet4)
	if !ok {
		return nil, errors.New("the socket has no address")
	}
	return address, nil
}
