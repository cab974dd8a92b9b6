package pcr

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

const (
	// MaxText is how large a text with policies may be that is read.
	MaxText = 1 << 20
	// maxPolicies is how many policies a bank may have there: more than there
	// are points of a boot, devicetrees and keys.
	maxPolicies = 1024
	// signatureRoom is how many bytes are kept free for each signature that is
	// made elsewhere.
	signatureRoom = 1024
)

// Policies are policies by the names of banks, the content of a .pcrsig
// section.
type Policies map[string][]Policy

// add adds a policy unless it is there.
func (l Policies) add(bank string, p Policy) {
	there := slices.ContainsFunc(l[bank], func(q Policy) bool {
		return q.Ref == p.Ref && bytes.Equal(q.Digest, p.Digest) && bytes.Equal(q.Fingerprint, p.Fingerprint)
	})
	if !there {
		l[bank] = append(l[bank], p)
	}
}

// Merge adds the policies of other that are not there yet.
func (l Policies) Merge(other Policies) {
	for bank, list := range other {
		for _, p := range list {
			l.add(bank, p)
		}
	}
}

// Text is the policies as JSON, as systemd reads them, in one line that does
// not end. The key "tbs" of a policy that is not signed is what has to be.
func (l Policies) Text() string {
	var w strings.Builder
	w.WriteString("{")
	for _, bank := range Banks() {
		list := l[bank.Name]
		if list == nil {
			continue
		}
		if w.Len() > 1 {
			w.WriteString(", ")
		}
		fmt.Fprintf(&w, "%q: [", bank.Name)
		for i, p := range list {
			if i > 0 {
				w.WriteString(", ")
			}
			p.write(&w)
		}
		w.WriteString("]")
	}
	w.WriteString("}")
	return w.String()
}

func (p Policy) write(w *strings.Builder) {
	fmt.Fprintf(w, `{"pcrs": [%d], "pkfp": "%x"`, Register, p.Fingerprint)
	if p.Ref != "" {
		ref, _ := json.Marshal(p.Ref) // a string always can be
		fmt.Fprintf(w, `, "ref": %s`, ref)
	}
	fmt.Fprintf(w, `, "pol": "%x"`, p.Digest)
	if p.Signature == nil {
		fmt.Fprintf(w, `, "tbs": "%x"}`, p.Signed())
		return
	}
	fmt.Fprintf(w, `, "sig": "%s"}`, base64.StdEncoding.EncodeToString(p.Signature))
}

// Section is the content of the .pcrsig section: the text, with room behind it
// for the signatures that are missing.
func (l Policies) Section() string {
	room := 0
	for _, list := range l {
		for _, p := range list {
			if p.Signature == nil {
				room += signatureRoom
			}
		}
	}
	return l.Text() + strings.Repeat(" ", room)
}

// ParsePolicies reads the content of a .pcrsig section. What is about other
// banks or registers is left out.
func ParsePolicies(text []byte) (Policies, error) {
	if len(text) > MaxText {
		return nil, fmt.Errorf("policies of %d bytes are more than the %d that are read", len(text), MaxText)
	}
	var banks map[string][]struct {
		PCRs           []int
		PKFP, Ref, Pol string
		Sig            []byte
	}
	if err := json.Unmarshal(bytes.TrimRight(text, "\x00"), &banks); err != nil {
		return nil, fmt.Errorf("reading policies: %w", err)
	}
	list := Policies{}
	for _, bank := range Banks() {
		if n := len(banks[bank.Name]); n > maxPolicies {
			return nil, fmt.Errorf("%d policies for bank %s are more than the %d that are read", n, bank.Name, maxPolicies)
		}
		for _, e := range banks[bank.Name] {
			if !slices.Equal(e.PCRs, []int{Register}) {
				continue
			}
			p := Policy{Ref: e.Ref, Signature: e.Sig}
			var err error
			if p.Fingerprint, err = hex.DecodeString(e.PKFP); err != nil {
				return nil, fmt.Errorf("reading policies: the fingerprint of a key: %w", err)
			}
			if p.Digest, err = hex.DecodeString(e.Pol); err != nil {
				return nil, fmt.Errorf("reading policies: the digest of a policy: %w", err)
			}
			list.add(bank.Name, p)
		}
	}
	return list, nil
}
