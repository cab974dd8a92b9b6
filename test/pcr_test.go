//go:build integration

package test

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mkosi-go/mkosi/internal/efi/pcr"
)

// TestPCR compares predicted values and policies with systemd-measure's.
func TestPCR(t *testing.T) {
	p := newUKIParts(t)
	names := []string{"linux", "osrel", "cmdline", "initrd", "ucode", "splash", "dtb", "uname", "sbat", "pcrpkey", "profile", "dtbauto", "hwids", "efifw"}
	image, args := pcr.Image{}, ""
	for _, name := range names {
		text := "the section " + strings.Repeat(name, 1000)
		writeFile(t, filepath.Join(p.dir, "section-"+name), []byte(text), 0o644)
		h := pcr.NewHasher(pcr.Banks())
		if _, err := io.WriteString(h, text); err != nil {
			t.Fatal(err)
		}
		image["."+name] = h.Digests()
		args += fmt.Sprintf(" --%s=section-%s", name, name)
	}
	const measure = "/usr/lib/systemd/systemd-measure "
	inReference(t, p.dir, "true", []string{
		measure + "calculate --json=short" + args + " >values",
		measure + "calculate --json=short --phase=: --phase=a:bc:d" + args + " >phases",
		measure + "sign --private-key=key" + args + " >signed",
		measure + "sign --private-key=key --policyref=initrd --phase=enter-initrd --append=signed" + args + " >appended || true",
		measure + "sign --private-key=key --policyref=initrd --phase=enter-initrd" + args + " >initrd",
	})
	for file, paths := range map[string][]string{"values": pcr.Phases(), "phases": {"", "a:bc:d"}} {
		var said map[string][]struct{ Phase, Hash string }
		if err := json.Unmarshal([]byte(p.text(t, file)), &said); err != nil {
			t.Fatal(err)
		}
		if len(said) != len(pcr.Banks()) {
			t.Errorf("%s: %d banks", file, len(said))
		}
		for _, bank := range pcr.Banks() {
			for i, path := range paths {
				value, err := image.Value(bank, path)
				if s := said[bank.Name][i]; err != nil || s.Phase != path || s.Hash != fmt.Sprintf("%x", value) {
					t.Errorf("%s, %s: %x, systemd-measure: %+v: %v", bank.Name, path, value, s, err)
				}
			}
		}
	}
	list, err := image.Policies(pcr.Options{Banks: pcr.Banks(), Key: p.key, Initrd: true})
	if err != nil {
		t.Fatal(err)
	}
	said := pcr.Policies{}
	for _, file := range []string{"signed", "initrd"} {
		l, err := pcr.ParsePolicies([]byte(p.text(t, file)))
		if err != nil {
			t.Fatal(err)
		}
		said.Merge(l)
	}
	if list.Text() != said.Text() || len(said) != len(pcr.Banks()) {
		t.Errorf("policies %s\nsystemd-measure %s", list.Text(), said.Text())
	}
	for bank, l := range said {
		for _, policy := range l {
			if err := policy.Verify(p.key.Public()); err != nil {
				t.Errorf("%s: %v", bank, err)
			}
		}
	}
}
