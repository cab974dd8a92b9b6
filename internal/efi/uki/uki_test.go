package uki

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mkosi-go/mkosi/internal/archive"
	"github.com/mkosi-go/mkosi/internal/efi/pcr"
	"github.com/mkosi-go/mkosi/internal/efi/pe"
	"github.com/mkosi-go/mkosi/internal/efi/pe/petest"
)

const (
	stubSBAT   = sbatHeader + "\nstub,1,Stub,stub,1,https://example.com/stub\n"
	kernelSBAT = sbatHeader + "\nkernel,1,Kernel,kernel,1,https://example.com/kernel\n"
)

func testStub() []byte {
	return petest.Program(petest.Section{Name: ".text", Text: "code"}, petest.Section{Name: ".sbat", Text: stubSBAT + strings.Repeat("\x00", 300)})
}

func testKernel() []byte {
	return petest.Program(petest.Section{Name: ".text", Text: strings.Repeat("kernel", 5000)}, petest.Section{Name: ".sbat", Text: kernelSBAT})
}

// built is an image and what was said about it.
type built struct {
	*Result
	bytes []byte
	file  *pe.File
}

func build(t testing.TB, o Options) *built {
	t.Helper()
	b, err := tryBuild(t, o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func tryBuild(t testing.TB, o Options) (*built, error) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "image.efi"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}()
	r, err := Build(t.Context(), f, o)
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	p, err := pe.Parse(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	if r.Size != int64(len(b)) || !slices.Equal(r.Sections, p.Sections) {
		t.Errorf("result %+v of a file of %d bytes with %+v", r, len(b), p.Sections)
	}
	return &built{r, b, p}, nil
}

// list has the names and contents of the sections after the stub's.
func (b *built) list() []petest.Section {
	var list []petest.Section
	for _, s := range b.file.Sections[1:] {
		if s.Name != ".sbat" {
			list = append(list, petest.Section{Name: s.Name, Text: b.text(s)})
		}
	}
	return list
}

func (b *built) text(s pe.Section) string { return string(b.bytes[s.Offset:][:s.Used()]) }

func compare(t *testing.T, got, want []petest.Section) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			t.Errorf("section %d is missing: %.60q", i, want[i])
		case i >= len(want):
			t.Errorf("section %d is too much: %.60q", i, got[i])
		case got[i] != want[i]:
			t.Errorf("section %d is %.60q, want %.60q", i, got[i], want[i])
		}
	}
}

func testKey(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestBuild(t *testing.T) {
	o := Options{Stub: Text(string(testStub())), Base: Sections{
		OSRelease: "ID=x\n", CommandLine: "quiet\x00", DeviceTree: Text("tree"), DeviceTrees: []*io.SectionReader{Text("one"), Text("two")}, HardwareIDs: []byte("table"),
		Uname: "6.1", Splash: Text("picture"), PublicKey: "key", Kernel: Text(string(testKernel())), Initrds: []*io.SectionReader{Text("first"), Text("four"), Text("x")},
		Microcode: Text("microcode"), Extra: []Extra{{"other", Text("extra")}},
	}}
	want := []petest.Section{
		{Name: ".osrel", Text: "ID=x\n"}, {Name: ".cmdline", Text: "quiet\x00"}, {Name: ".dtb", Text: "tree"}, {Name: ".dtbauto", Text: "one"}, {Name: ".dtbauto", Text: "two"}, {Name: ".hwids", Text: "table"},
		{Name: ".uname", Text: "6.1"}, {Name: ".splash", Text: "picture"}, {Name: ".pcrpkey", Text: "key"}, {Name: ".linux", Text: string(testKernel())},
		{Name: ".initrd", Text: "first\x00\x00\x00fourx\x00\x00\x00"}, {Name: ".ucode", Text: "microcode"}, {Name: "other", Text: "extra"},
	}
	b := build(t, o)
	compare(t, b.list(), want)
	if b.KernelProblem != nil || b.Policies != nil || len(b.Boots) != 2 {
		t.Errorf("%+v", b.Result)
	}
	sbat, _ := b.file.Section(".sbat")
	if want := stubSBAT + "kernel,1,Kernel,kernel,1,https://example.com/kernel\n" + defaultImage + "\n"; b.text(sbat) != want {
		t.Errorf("components %q, want %q", b.text(sbat), want)
	}
	// The same parts can be used again, and give the same bytes.
	if again := build(t, o); !bytes.Equal(again.bytes, b.bytes) {
		t.Error("the second image differs")
	}
	o.SBAT = sbatHeader + "\nmine,1"
	b = build(t, o)
	if sbat, _ = b.file.Section(".sbat"); !strings.HasSuffix(b.text(sbat), "kernel\nmine,1\n") {
		t.Errorf("components %q", b.text(sbat))
	}
}

func TestBuildAddon(t *testing.T) {
	plug := petest.Program(petest.Section{Name: ".text", Text: "code"})
	b := build(t, Options{Stub: Text(string(plug)), Base: Sections{CommandLine: "debug", Initrds: []*io.SectionReader{Text("first")}, Firmware: []Firmware{{"id", []byte("capsule")}}}})
	compare(t, b.list(), []petest.Section{{Name: ".cmdline", Text: "debug"}, {Name: ".initrd", Text: "first"}, {Name: ".efifw", Text: "\x00\x10\x00\x00\x00\x03\x00\x00\x00\x07\x00\x00\x00id\x00capsule"}})
	if s := b.Sections[len(b.Sections)-1]; s.Name != ".sbat" || b.text(s) != sbatHeader+"\n"+defaultAddon+"\n" {
		t.Errorf("section %+v: %q", s, b.text(s))
	}
	// A profile to be joined to an image has no components.
	b = build(t, Options{Stub: Text(string(plug)), Base: Sections{Profile: "ID=x", CommandLine: "debug"}})
	if _, ok := b.file.Section(".sbat"); ok || len(b.Boots) != 0 {
		t.Errorf("sections %+v, boots %+v", b.Sections, b.Boots)
	}
	compare(t, b.list(), []petest.Section{{Name: ".profile", Text: "ID=x"}, {Name: ".cmdline", Text: "debug"}})
}

func TestBuildProfiles(t *testing.T) {
	key := testKey(t)
	banks := pcr.Banks()[1:2]
	o := Options{
		Stub: Text(string(testStub())),
		Base: Sections{CommandLine: "base", Kernel: Text(string(testKernel())), DeviceTrees: []*io.SectionReader{Text("one"), Text("two")}},
		Profiles: []Profile{
			{Sections: Sections{Profile: "ID=a", CommandLine: "a"}},
			{Sections: Sections{Profile: "ID=b"}, Unsigned: true},
		},
		Policies: &pcr.Options{Banks: banks, Key: key, Initrd: true},
	}
	b := build(t, o)
	var names []string
	for _, s := range b.list() {
		names = append(names, s.Name)
	}
	want := ".cmdline .dtbauto .dtbauto .pcrpkey .linux .profile .pcrsig .profile .cmdline .pcrsig .profile"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("sections %s, want %s", got, want)
	}
	if s := b.list()[5]; s.Text != "ID=main" {
		t.Errorf("the first profile is %q", s.Text)
	}
	if len(b.Boots) != 6 || b.Boots[3].Profile != 1 || b.Boots[3].DeviceTree != 1 {
		t.Fatalf("boots %+v", b.Boots)
	}
	// Each boot is as if measured alone, and has its policy where it is signed.
	for _, boot := range b.Boots {
		value := measure(t, b, boot, banks)
		got, err := boot.Image.Value(banks[0], "enter-initrd")
		if err != nil || !bytes.Equal(got, value) {
			t.Errorf("profile %d, devicetree %d: %x, want %x: %v", boot.Profile, boot.DeviceTree, got, value, err)
		}
	}
	if n := len(b.Policies["sha256"]); n != 2*2*5 {
		t.Errorf("%d policies", n)
	}
	for i, index := range []int{6, 9} {
		list, err := pcr.ParsePolicies([]byte(b.list()[index].Text))
		if err != nil || len(list["sha256"]) != 2*5 {
			t.Fatalf("policies of profile %d: %+v: %v", i, list, err)
		}
		for _, p := range list["sha256"] {
			if err := p.Verify(key.Public()); err != nil {
				t.Error(err)
			}
		}
	}
}

// measure takes the value at the start of the initrd from the file.
func measure(t *testing.T, b *built, boot Boot, banks []pcr.Bank) []byte {
	t.Helper()
	image := pcr.Image{}
	profile, trees := 0, 0
	for _, s := range b.file.Sections {
		if s.Name == ".profile" && image[".profile"] != nil {
			profile++
		}
		if profile != 0 && profile != boot.Profile {
			continue
		}
		if s.Name == ".dtbauto" {
			if trees++; trees-1 != boot.DeviceTree {
				continue
			}
		}
		h := pcr.NewHasher(banks)
		if _, err := io.WriteString(h, b.text(s)); err != nil {
			t.Fatal(err)
		}
		image[s.Name] = h.Digests()
	}
	value, err := image.Value(banks[0], "enter-initrd")
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func TestBuildUnsigned(t *testing.T) {
	o := Options{
		Stub: Text(string(testStub())), Base: Sections{Kernel: Text(string(testKernel()))},
		Policies: &pcr.Options{Banks: pcr.Banks(), PublicKey: testKey(t).Public()}, Predict: pcr.Banks(),
	}
	b := build(t, o)
	s, ok := b.file.Section(".pcrsig")
	if text := b.text(s); !ok || text != b.Policies.Section() || !strings.HasSuffix(text, "}]}"+strings.Repeat(" ", 16*1024)) {
		t.Errorf("section .pcrsig %q", b.text(s))
	}
	public, err := pcr.PublicKeyPEM(o.Policies.PublicKey)
	if s, ok = b.file.Section(".pcrpkey"); err != nil || !ok || b.text(s) != public {
		t.Errorf("section .pcrpkey %q: %v", b.text(s), err)
	}
}

func TestBuildKernel(t *testing.T) {
	for _, c := range []archive.Compression{archive.Gzip, archive.Zstd, archive.XZ} {
		var packed bytes.Buffer
		w, err := archive.NewWriter(&packed, c, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(testKernel()); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		b := build(t, Options{Stub: Text(string(testStub())), Base: Sections{Kernel: Text(packed.String())}})
		if s := b.list()[0]; s.Text != string(testKernel()) || b.KernelProblem != nil {
			t.Errorf("%s: a kernel of %d bytes: %v", c, len(s.Text), b.KernelProblem)
		}
		if _, err := tryBuild(t, Options{Stub: Text(string(testStub())), Base: Sections{Kernel: Text(packed.String()[:packed.Len()/2])}}); err == nil {
			t.Errorf("%s: half a kernel was accepted", c)
		}
	}
	b := build(t, Options{Stub: Text(string(testStub())), Base: Sections{Kernel: Text("x")}})
	// Whoever tells of it says what that means.
	if s := b.list()[0]; s.Text != "x" || b.KernelProblem.Error() != pe.ErrFormat.Error() {
		t.Errorf("%q: %v", s.Text, b.KernelProblem)
	}
}

func TestBuildRefuses(t *testing.T) {
	stub, kernel := Text(string(testStub())), Text(string(testKernel()))
	key := &pcr.Options{Banks: pcr.Banks(), Key: testKey(t)}
	short := io.NewSectionReader(strings.NewReader("short"), 0, 100)
	large := sbatHeader + strings.Repeat("\nmore,1,More,more,1,https://example.com/", 20)
	for want, o := range map[string]Options{
		"no stub":                        {},
		"not a program":                  {Stub: Text("not a stub")},
		"nothing is measured":            {Stub: stub, Policies: key},
		"with firmware":                  {Stub: stub, Policies: key, Base: Sections{Kernel: kernel, Firmware: []Firmware{{}}}},
		"need a key":                     {Stub: stub, Policies: &pcr.Options{}, Base: Sections{Kernel: kernel}},
		"do not begin":                   {Stub: stub, SBAT: "mine,1"},
		"profile 1: it has no fields":    {Stub: stub, Profiles: []Profile{{}}},
		"extra sections belong":          {Stub: stub, Profiles: []Profile{{Sections: Sections{Profile: "ID=a", Extra: []Extra{{}}}}}},
		"firmware belongs":               {Stub: stub, Profiles: []Profile{{Sections: Sections{Profile: "ID=a", Firmware: []Firmware{{}}}}}},
		"public key belongs":             {Stub: stub, Profiles: []Profile{{Sections: Sections{Profile: "ID=a", PublicKey: "x"}}}},
		"hardware IDs belong":            {Stub: stub, Profiles: []Profile{{Sections: Sections{Profile: "ID=a", HardwareIDs: []byte("x")}}}},
		"devicetrees":                    {Stub: stub, Profiles: []Profile{{Sections: Sections{Profile: "ID=a", DeviceTrees: []*io.SectionReader{kernel}}}}},
		"has room for":                   {Stub: stub, SBAT: large},
		"section .initrd: 5 bytes":       {Stub: stub, Base: Sections{Initrds: []*io.SectionReader{short}}},
		"profile 2: writing section":     {Stub: stub, Profiles: []Profile{{Sections: Sections{Profile: "ID=a"}}, {Sections: Sections{Profile: "ID=b", Splash: short}}}},
		`"toolongname" cannot be the`:    {Stub: stub, Base: Sections{Extra: []Extra{{"toolongname", kernel}}}},
		"have no room for section .more": {Stub: stub, Base: Sections{Extra: slices.Repeat([]Extra{{".more", kernel}}, 20)}},
	} {
		if _, err := tryBuild(t, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v", want, err)
		}
	}
}

func TestBuildStopped(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "image.efi"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Build(ctx, f, Options{Stub: Text(string(testStub()))}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(f.Name()); err != nil || bytes.HasPrefix(b, []byte("MZ")) {
		t.Errorf("what is left is a program: %v", err)
	}
}

// FuzzBuild makes images with anything for a stub, a kernel and components: it
// is refused, or gives an image with these sections.
func FuzzBuild(f *testing.F) {
	f.Add(testStub(), testKernel(), stubSBAT, "ID=a")
	f.Add(testStub(), []byte("\x1f\x8b"), "", "")
	f.Add(testKernel()[:petest.Headers], testStub()[:100], kernelSBAT, "ID=b")
	f.Fuzz(func(t *testing.T, stub, kernel []byte, sbat, profile string) {
		o := Options{Stub: Text(string(stub)), SBAT: sbat, Base: Sections{Kernel: Text(string(kernel)), Uname: "6.1"}, Predict: pcr.Banks()[:1]}
		o.Profiles = []Profile{{Sections: Sections{Profile: profile, Uname: "6.2"}}}
		b, err := tryBuild(t, o)
		if err != nil {
			return
		}
		var last []string
		for _, s := range b.file.Sections[max(0, len(b.file.Sections)-3):] {
			last = append(last, b.text(s))
		}
		if want := []string{"ID=main", profile, "6.2"}; !slices.Equal(last, want) || len(b.Boots) != 2 {
			t.Errorf("sections %q, want %q; boots %+v", last, want, b.Boots)
		}
	})
}
