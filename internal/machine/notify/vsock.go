package notify

import (
	"fmt"
	"net"

	"github.com/mdlayher/vsock"
)

// ListenVSock opens a VSOCK port of this host for the guest with the given connection ID, and returns its address as the
// credential vmm.notify_socket wants it. Connections of others are closed unread.
func ListenVSock(cid uint32) (l Listener, address string, err error) {
	inner, err := vsock.ListenContextID(vsock.Host, 0, nil)
	if err != nil {
		return nil, "", fmt.Errorf("listening on VSOCK for notifications of the guest: %w", err)
	}
	port := inner.Addr().(*vsock.Addr).Port
	return &guestListener{inner, cid}, fmt.Sprintf("vsock-stream:%d:%d", vsock.Host, port), nil
}

// guestListener accepts the connections of one guest.
type guestListener struct {
	*vsock.Listener
	cid uint32
}

// Accept waits for a connection of the guest.
func (l *guestListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if from, ok := conn.RemoteAddr().(*vsock.Addr); ok && from.ContextID == l.cid {
			return conn, nil
		}
		conn.Close()
	}
}
