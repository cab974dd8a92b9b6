package inspect

import (
	"crypto/rand"
	"crypto/rsa"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mkosi-go/mkosi/internal/efi/pcr"
	"github.com/mkosi-go/mkosi/internal/efi/pe/petest"
	"github.com/mkosi-go/mkosi/internal/efi/uki"
)

// bootImage makes a unified kernel image with three profiles, one of them
// without policies.
func bootImage(t *testing.T, change func(o *uki.Options)) ([]byte, *uki.Result) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	o := uki.Options{
		Stub:     uki.Text(string(petest.Program(petest.Section{Name: ".text", Text: "code"}, petest.Section{Name: ".sbat", Text: strings.Repeat("\x00", 500)}))),
		Base:     uki.Sections{CommandLine: "base\x00", Uname: "6.1", Kernel: uki.Text("kernel")},
		Profiles: []uki.Profile{{Sections: uki.Sections{Profile: "ID=a\nTITLE=\"The other\"", CommandLine: "other"}}, {Sections: uki.Sections{Profile: "ID=b"}, Unsigned: true}},
		Policies: &pcr.Options{Banks: pcr.Banks()[1:2], Key: key, Initrd: true},
	}
	change(&o)
	f, err := os.Create(filepath.Join(t.TempDir(), "image.efi"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := uki.Build(t.Context(), f, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	return b, r
}

func TestBoots(t *testing.T) {
	b, r := bootImage(t, func(*uki.Options) {})
	p := inspect(t, b).Content.Program
	if p.CommandLine != "base" || len(p.Boots) != len(r.Boots) {
		t.Fatalf("%+v", p)
	}
	want := []Boot{
		{ID: "main", CommandLine: "base", Policies: 5, PoliciesState: Good},
		{ID: "a", Title: "The other", CommandLine: "other", Policies: 5, PoliciesState: Good},
		{ID: "b", CommandLine: "base"},
	}
	for i, boot := range p.Boots {
		value, err := r.Boots[i].Image.Value(pcr.Banks()[1], "")
		if err != nil || string(value) != string(boot.Register) {
			t.Errorf("profile %s: register %s, want %x: %v", boot.ID, boot.Register, value, err)
		}
		boot.Register = nil
		if boot.ID != want[i].ID || boot.Title != want[i].Title || boot.CommandLine != want[i].CommandLine || boot.Policies != want[i].Policies || boot.PoliciesState != want[i].PoliciesState {
			t.Errorf("%+v, want %+v", boot, want[i])
		}
	}
}

func TestBootsWrong(t *testing.T) {
	for want, change := range map[string]func(b []byte) []byte{
		"another value": func(b []byte) []byte {
			return []byte(strings.Replace(string(b), "base\x00", "BASE\x00", 1))
		},
		"reading the key": func(b []byte) []byte {
			return []byte(strings.Replace(string(b), "BEGIN PUBLIC", "BEGIN OTHER!", 1))
		},
		"reading policies": func(b []byte) []byte {
			return []byte(strings.Replace(string(b), `{"sha256"`, `["sha256"`, 1))
		},
	} {
		b, _ := bootImage(t, func(*uki.Options) {})
		p := inspect(t, change(b)).Content.Program
		if len(p.Boots) != 3 || !strings.Contains(p.Boots[0].PoliciesState, want) {
			t.Errorf("%s: %+v", want, p.Boots)
		}
	}
	// Which devicetree is measured depends on the machine.
	b, _ := bootImage(t, func(o *uki.Options) { o.Base.DeviceTrees = []*io.SectionReader{uki.Text("tree")} })
	if p := inspect(t, b).Content.Program; len(p.Boots) != 3 || p.Boots[0].Register != nil || p.Boots[0].PoliciesState != "" {
		t.Errorf("%+v", p.Boots)
	}
}
