package keys

import (
	"bytes"
	"crypto/x509"
	"testing"

	"github.com/mkosi-go/mkosi/internal/keys/keystest"
)

func TestDeterministic(t *testing.T) {
	key, cert := keystest.Pair(t, "signer")
	first, err := SignPKCS7Detached(key, cert, []byte("content"))
	if err != nil {
		t.Fatal(err)
	}
	if second, err := SignPKCS7Detached(key, cert, []byte("content")); err != nil || !bytes.Equal(first, second) {
		t.Errorf("the second time, it is another signature: %v", err)
	}
	if _, err := VerifyPKCS7Detached(first, []byte("content"), []*x509.Certificate{cert}); err != nil {
		t.Error(err)
	}
}
