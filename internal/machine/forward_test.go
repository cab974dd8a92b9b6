package machine

import (
	"errors"
	"fmt"
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/config"
)

// TestForwardsHaveTheirPort asks for a port as others do, and as QEMU does.
func TestForwardsHaveTheirPort(t *testing.T) {
	s := newScene(t)
	s.stage("exit 0")
	m := s.plan()
	port, err := m.AddForward(22)
	if err != nil {
		t.Fatal(err)
	}
	if another, err := m.AddForward(22); err != nil || another == port {
		t.Errorf("port %d, and %d again, error %v", port, another, err)
	}
	listen := func() error {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)) // with SO_REUSEADDR
		if err != nil {
			return err
		}
		return l.Close()
	}
	bind := func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: int(port)})
	}
	if err := bind(); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("somebody else gets the port: %v", err)
	}
	if err := listen(); err != nil {
		t.Errorf("QEMU does not get the port: %v", err)
	}
	if _, err := m.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := bind(); err != nil {
		t.Errorf("the port is still held: %v", err)
	}
}

func TestForwardsNeedANetwork(t *testing.T) {
	for name, change := range map[string]func(s *scene){
		"none":    func(s *scene) { s.img.RuntimeNetwork = config.NetworkNone },
		"vmspawn": func(s *scene) { s.img.VirtualMachineMonitor = config.MonitorVmspawn },
	} {
		s := newScene(t)
		change(s)
		if _, err := s.plan().AddForward(22); err == nil {
			t.Errorf("%s: a port was forwarded", name)
		}
	}
}
