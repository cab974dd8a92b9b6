package variable

import (
	"crypto"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// Enrolment is a file from which systemd-boot sets a variable of a firmware in
// setup mode; it belongs to loader/keys/auto of the EFI system partition.
type Enrolment struct {
	// Name is that of the file: PK.auth, KEK.auth or db.auth.
	Name string
	// Update is its content, see [Sign].
	Update []byte
}

// Enrol makes the files that let a firmware trust one certificate only: as
// platform key, as exchange key, and for what is booted. The time is that of the
// updates, see [Sign].
func Enrol(key crypto.Signer, cert *x509.Certificate, t time.Time) ([]Enrolment, error) {
	data, err := MarshalLists(Certificate(uuid.Nil, cert))
	if err != nil {
		return nil, err
	}
	var list []Enrolment
	for _, id := range []ID{PlatformKey(), ExchangeKeys(), Allowed()} {
		update, err := Sign(key, cert, id, KeyAttributes, t, data)
		if err != nil {
			return nil, fmt.Errorf("preparing the enrolment of %s: %w", id.Name, err)
		}
		list = append(list, Enrolment{id.Name + ".auth", update})
	}
	return list, nil
}
