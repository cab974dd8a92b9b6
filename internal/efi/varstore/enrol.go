package varstore

import (
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/mkosi-go/mkosi/internal/efi/variable"
)

// enrolOwner is who is said to have put keys into a store; the programs that
// come with OVMF for that say the same.
func enrolOwner() uuid.UUID { return uuid.MustParse("a0baa8a3-041d-48a8-bc87-c36d121b5e3d") }

// shimVendor is the vendor of the variables of shim, and the owner of what is
// put there.
func shimVendor() uuid.UUID { return uuid.MustParse("605dab50-e046-4300-abb6-3dd810dd8b23") }

// secureBootEnable is the variable by which OVMF switches Secure Boot on, when
// there is a platform key.
func secureBootEnable() variable.ID {
	return variable.ID{Name: "SecureBootEnable", Vendor: uuid.MustParse("f0a30bc7-af08-4556-99c4-001009c93a44")}
}

// customMode is the variable by which OVMF would accept keys without signatures.
func customMode() variable.ID {
	return variable.ID{Name: "CustomMode", Vendor: uuid.MustParse("c076ec0c-7028-4399-a072-71ee5c448b9f")}
}

// machineOwnerKeys is MokList, the variable with what shim accepts beside what
// the firmware does.
func machineOwnerKeys() variable.ID { return variable.ID{Name: "MokList", Vendor: shimVendor()} }

const plain = variable.NonVolatile | variable.BootService

// Enrol switches Secure Boot on, with one certificate as platform key, as
// exchange key, and for what is booted, in place of the keys that are there.
// Updates that are signed with it have to be of a later time than the start of
// its validity.
func (s *Store) Enrol(cert *x509.Certificate) error {
	trusted, err := variable.MarshalLists(variable.Certificate(enrolOwner(), cert))
	if err != nil {
		return err
	}
	// There is a dbx, as on machines that are sold with keys; a variable cannot
	// be empty, and the digest of nothing forbids nothing.
	forbidden, err := variable.MarshalLists(variable.Digests(enrolOwner(), sha256.Sum256(nil)))
	if err != nil {
		return err
	}
	since := cert.NotBefore.Truncate(time.Second)
	for id, v := range map[variable.ID]Variable{
		variable.PlatformKey():  {Attributes: variable.KeyAttributes, Time: since, Data: trusted},
		variable.ExchangeKeys(): {Attributes: variable.KeyAttributes, Time: since, Data: trusted},
		variable.Allowed():      {Attributes: variable.KeyAttributes, Time: since, Data: trusted},
		// Older than any update of dbx.
		variable.Forbidden(): {Attributes: variable.KeyAttributes, Time: time.Date(2010, 1, 1, 0, 0, 0, 0, time.UTC), Data: forbidden},
		secureBootEnable():   {Attributes: plain, Data: []byte{1}},
		customMode():         {Attributes: plain, Data: []byte{0}},
	} {
		if err := s.Set(id, v); err != nil {
			return fmt.Errorf("enrolling the certificate of %s: %w", cert.Subject, err)
		}
	}
	return nil
}

// AddMachineOwnerKey has shim trust a certificate, beside those that it trusts
// already.
func (s *Store) AddMachineOwnerKey(cert *x509.Certificate) error {
	more, err := variable.MarshalLists(variable.Certificate(shimVendor(), cert))
	if err != nil {
		return err
	}
	v, ok := s.Get(machineOwnerKeys())
	if !ok {
		v.Attributes = plain
	}
	v.Data = append(v.Data[:len(v.Data):len(v.Data)], more...)
	return s.Set(machineOwnerKeys(), v)
}
