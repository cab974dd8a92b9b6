package inspect

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/mkosi-go/mkosi/internal/efi/pcr"
)

// contents is what sections of a unified kernel image say, and their digests, up to
// the next profile or of one.
type contents struct {
	texts map[string]string
	image pcr.Image
}

// describe says what the sections of a program mean. Those before the first
// profile are for all profiles, which may have their own in their place (UAPI.5
// Unified Kernel Image, Multi-Profile UKIs).
func (w *scanner) describe(p *Program) {
	const bank = "sha256"
	current := contents{map[string]string{}, pcr.Image{}}
	var base contents
	var profiles []contents
	chooses := false
	for i, s := range w.Sections {
		if s.Name == ".profile" {
			if profiles == nil {
				base = current
			}
			current = contents{maps.Clone(base.texts), maps.Clone(base.image)}
			profiles = append(profiles, current)
		}
		current.texts[s.Name] = strings.TrimRight(w.texts[i], "\x00\n")
		if pcr.Measured(s.Name) && s.Used() > 0 {
			current.image[s.Name] = pcr.Digests{bank: w.sums[i]}
		}
		chooses = chooses || s.Name == ".dtbauto" || s.Name == ".efifw"
		p.UKI = p.UKI || s.Name == ".linux"
	}
	if profiles == nil {
		base, profiles = current, []contents{current}
	}
	p.Uname, p.CommandLine = base.texts[".uname"], base.texts[".cmdline"]
	if text, ok := base.texts[".osrel"]; ok {
		p.Release = &Release{Fields: parseRelease(text)}
	}
	if !p.UKI {
		return
	}
	for _, q := range profiles {
		p.Boots = append(p.Boots, q.boot(bank, chooses))
	}
}

// boot describes a way to boot. chooses is that the stub chooses sections by
// the machine, so that the values are not known.
func (q contents) boot(name string, chooses bool) Boot {
	fields := parseRelease(q.texts[".profile"])
	b := Boot{ID: fields["ID"], Title: fields["TITLE"], CommandLine: q.texts[".cmdline"]}
	bank, err := pcr.ParseBank(name)
	if chooses || err != nil {
		return b
	}
	if b.Register, err = q.image.Value(bank, ""); err != nil {
		return b
	}
	text, ok := q.texts[".pcrsig"]
	if !ok {
		return b
	}
	b.Policies, err = q.policies(bank, text)
	b.PoliciesState = state(err)
	return b
}

// policies checks policies, and returns how many there are.
func (q contents) policies(bank pcr.Bank, text string) (int, error) {
	all, err := pcr.ParsePolicies([]byte(text))
	if err != nil {
		return 0, err
	}
	list := all[bank.Name]
	key, err := publicKey(q.texts[".pcrpkey"])
	if err != nil {
		return len(list), fmt.Errorf("reading the key of the policies: %w", err)
	}
	return len(list), q.image.CheckPolicies(bank, list, key)
}

func publicKey(text string) (crypto.PublicKey, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("there is none in the PEM format")
	}
	return x509.ParsePKIXPublicKey(block.Bytes)
}
