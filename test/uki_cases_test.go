//go:build integration

package test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/mkosi-go/mkosi/internal/efi/pcr"
	"github.com/mkosi-go/mkosi/internal/efi/uki"
)

// ukiCase is an image, and the arguments that ukify makes the same one with.
type ukiCase struct {
	name string
	o    uki.Options
	args string
}

func (p *ukiParts) cases(t *testing.T) []ukiCase {
	sha256, err := pcr.ParseBank("sha256")
	if err != nil {
		t.Fatal(err)
	}
	plain := uki.Sections{OSRelease: p.text(t, "osrel"), Uname: "6.1", Kernel: p.file(t, "kernel"), Initrds: p.files(t, "initrd1")}
	const plainArgs = "--os-release @osrel --uname 6.1 --linux kernel --initrd initrd1 "
	with := func(change func(s *uki.Sections)) uki.Sections {
		s := plain
		change(&s)
		return s
	}
	hwids, err := uki.HardwareIDs(os.DirFS(filepath.Join(p.dir, "hwids")))
	if err != nil {
		t.Fatal(err)
	}
	all := uki.Sections{
		OSRelease: p.text(t, "osrel"), CommandLine: p.text(t, "cmdline"), DeviceTree: p.file(t, "dtb"), DeviceTrees: p.files(t, "dtb1", "dtb2"), HardwareIDs: hwids, Uname: "6.1",
		Splash: p.file(t, "splash"), PublicKey: p.text(t, "public"), Kernel: p.file(t, "kernel"), Initrds: p.files(t, "initrd1", "initrd2", "initrd3"), Microcode: p.file(t, "ucode"),
		Firmware: []uki.Firmware{{ID: "firmware", Content: []byte("firmware")}}, Extra: []uki.Extra{{Name: "other", Content: p.file(t, "extra")}},
	}
	const allArgs = "--os-release @osrel --cmdline @cmdline --devicetree dtb --devicetree-auto dtb1 --devicetree-auto dtb2 --hwids hwids --uname 6.1 --splash splash --pcrpkey public " +
		"--linux kernel --initrd initrd1 --initrd initrd2 --initrd initrd3 --microcode ucode --efifw firmware --section other:@extra "
	signedParts := all
	signedParts.DeviceTrees, signedParts.Firmware, signedParts.PublicKey = nil, nil, ""
	const signedArgs = "--os-release @osrel --cmdline @cmdline --devicetree dtb --hwids hwids --uname 6.1 --splash splash " +
		"--linux kernel --initrd initrd1 --initrd initrd2 --initrd initrd3 --microcode ucode --section other:@extra "
	one := uki.Profile{Sections: uki.Sections{Profile: "ID=one\nTITLE=\"One\"\n", CommandLine: "one"}}
	two := uki.Profile{Sections: uki.Sections{
		Profile: "ID=two", OSRelease: "ID=other", CommandLine: "two", DeviceTree: p.file(t, "dtb1"), Uname: "6.2", Splash: p.file(t, "noise"), Initrds: p.files(t, "initrd3"), Microcode: p.file(t, "noise"),
	}}
	const joins = "--join-profile one.profile --join-profile two.profile "
	signed := func(change func(o *pcr.Options)) *pcr.Options {
		o := &pcr.Options{Banks: []pcr.Bank{sha256}, Key: p.key}
		change(o)
		return o
	}
	nothing := func(*pcr.Options) {}
	initrd := func(o *pcr.Options) { o.Initrd = true }
	unsigned := func(o *pcr.Options) { o.Key, o.PublicKey, o.Initrd = nil, p.key.Public(), true }
	twoUnsigned := two
	twoUnsigned.Unsigned = true
	return []ukiCase{
		{"plain", uki.Options{Stub: p.stub, Base: plain}, "--stub stub " + plainArgs},
		{"all", uki.Options{Stub: p.stub, Base: all}, "--stub stub " + allArgs},
		{"sbat", uki.Options{Stub: p.stub, Base: plain, SBAT: ukiSBAT}, "--stub stub --sbat @sbat " + plainArgs},
		{"compressed", uki.Options{Stub: p.stub, Base: with(func(s *uki.Sections) { s.Kernel = p.file(t, "kernel.zst") })}, "--stub stub --os-release @osrel --uname 6.1 --linux kernel.zst --initrd initrd1"},
		{"no kernel", uki.Options{Stub: p.stub, Base: with(func(s *uki.Sections) { s.Kernel = p.file(t, "noise") })}, "--stub stub --os-release @osrel --uname 6.1 --linux noise --initrd initrd1"},
		{"empty", uki.Options{Stub: p.stub, Base: with(func(s *uki.Sections) { s.Initrds, s.Splash = p.files(t, "empty"), p.file(t, "empty") })}, "--stub stub --os-release @osrel --uname 6.1 --splash empty --linux kernel --initrd empty"},
		{"addon", uki.Options{Stub: p.plug, Base: uki.Sections{CommandLine: "debug"}}, "--stub plug --cmdline debug"},
		{"addon parts", uki.Options{Stub: p.plug, SBAT: ukiSBAT, Base: uki.Sections{DeviceTree: p.file(t, "dtb"), HardwareIDs: hwids, Initrds: p.files(t, "initrd1"), Microcode: p.file(t, "ucode")}}, "--stub plug --sbat @sbat --devicetree dtb --hwids hwids --initrd initrd1 --microcode ucode"},
		{"addon of a stub", uki.Options{Stub: p.stub, Base: uki.Sections{CommandLine: "debug"}}, "--stub stub --cmdline debug"},
		{"profile", uki.Options{Stub: p.plug, Base: uki.Sections{Profile: "ID=a", CommandLine: "debug"}}, "--stub plug --profile ID=a --cmdline debug"},
		{"profiles", uki.Options{Stub: p.stub, Base: plain, Profiles: []uki.Profile{one, two}}, "--stub stub " + joins + plainArgs},
		{"profiles, all", uki.Options{Stub: p.stub, Base: func() uki.Sections { s := all; s.Profile = p.text(t, "profile"); return s }(), Profiles: []uki.Profile{one}}, "--stub stub --profile @profile --join-profile one.profile " + allArgs},
		{"signed", uki.Options{Stub: p.stub, Base: signedParts, Policies: signed(initrd)}, "--stub stub --pcr-private-key key --pcr-banks sha256 --sign-initrd-pcrs " + signedArgs},
		{"signed, all banks", uki.Options{Stub: p.stub, Base: plain, Policies: signed(func(o *pcr.Options) { o.Banks = pcr.Banks() })}, "--stub stub --pcr-private-key key " + plainArgs},
		{"signed, two devicetrees", uki.Options{Stub: p.stub, Base: with(func(s *uki.Sections) { s.DeviceTrees = p.files(t, "dtb1", "dtb2") }), Policies: signed(initrd)}, "--stub stub --pcr-private-key key --pcr-banks sha256 --sign-initrd-pcrs --devicetree-auto dtb1 --devicetree-auto dtb2 " + plainArgs},
		{"signed profiles", uki.Options{Stub: p.stub, Base: plain, Profiles: []uki.Profile{one, twoUnsigned}, Policies: signed(initrd)}, "--stub stub --pcr-private-key key --pcr-banks sha256 --sign-initrd-pcrs --sign-profile main --sign-profile one " + joins + plainArgs},
		{"signed, no .sbat", uki.Options{Stub: p.plug, Base: plain, Profiles: []uki.Profile{one}, Policies: signed(nothing)}, "--stub plug --pcr-private-key key --pcr-banks sha256 --join-profile one.profile " + plainArgs},
		{"to be signed", uki.Options{Stub: p.stub, Base: plain, Policies: signed(unsigned)}, "--stub stub --policy-digest --pcr-public-key public --pcr-banks sha256 --sign-initrd-pcrs --json short " + plainArgs},
		{"profiles to be signed", uki.Options{Stub: p.stub, Base: plain, Profiles: []uki.Profile{one, two}, Policies: signed(unsigned)}, "--stub stub --policy-digest --pcr-public-key public --pcr-banks sha256 --sign-initrd-pcrs --json short " + joins + plainArgs},
	}
}
