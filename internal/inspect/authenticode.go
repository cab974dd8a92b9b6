package inspect

import (
	"crypto/x509"
	"errors"
	"slices"

	"github.com/mkosi-go/mkosi/internal/efi/authenticode"
	"github.com/mkosi-go/mkosi/internal/keys"
)

// checkProgram checks the signatures in the table of a program with its SHA-256
// digest. None is good if that could not be taken.
func checkProgram(table, digest []byte, digestErr error, trusted []*x509.Certificate) []Signature {
	entries, err := authenticode.ParseTable(table)
	var list []Signature
	for _, e := range entries {
		list = append(list, checkAuthenticode(e, digest, digestErr, trusted))
	}
	if err != nil {
		list = append(list, Signature{State: err.Error()})
	}
	return list
}

// checkAuthenticode checks one signature.
func checkAuthenticode(entry authenticode.Signature, digest []byte, digestErr error, trusted []*x509.Certificate) Signature {
	var s Signature
	signer, err := entry.Verify(digest)
	if signer != nil {
		s.Signer, s.Fingerprint = signer.Subject.String(), keys.Fingerprint(signer)
	}
	switch {
	case digestErr != nil:
		err = digestErr
	case err == nil && len(trusted) == 0:
		err = errors.New("there is no certificate to check it with")
	case err == nil && !slices.ContainsFunc(trusted, signer.Equal):
		err = errors.New("its certificate is none of those that are trusted")
	}
	s.State = state(err)
	return s
}
