package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mkosi-go/mkosi/internal/inspect"
	"github.com/mkosi-go/mkosi/internal/ui"
)

// content writes what a piece of an image holds under a title.
func (d *describer) content(title string, c *inspect.Content) {
	list := d.describe(c)
	if len(list) == 0 && len(c.Programs) == 0 && c.Program == nil {
		return
	}
	fmt.Fprintln(d.w)
	fmt.Fprintln(d.w, d.style.Heading(title))
	d.fields(list...)
	programs := c.Programs
	if c.Program != nil {
		programs = append(programs, *c.Program)
	}
	for _, p := range programs {
		d.program(&p)
	}
}

func (d *describer) describe(c *inspect.Content) []field {
	var list []field
	add := func(name, text string) { list = append(list, field{name: name, text: text}) }
	if f := c.FileSystem; f != nil {
		size := ui.Bytes(f.Size)
		if f.Free != nil {
			size += ", " + ui.Bytes(*f.Free) + " free"
		}
		if f.BlockSize > 0 {
			size += ", blocks of " + ui.Bytes(f.BlockSize)
		}
		kind := string(c.Format)
		if f.Kind != "" && f.Kind != kind {
			kind = fmt.Sprintf("%s (%s)", kind, f.Kind)
		}
		add("File system", kind+", "+size)
		add("Label", f.Label)
		add("UUID", f.UUID)
		add("Compression", strings.Join(f.Compression, ", "))
		for i, line := range wrap(f.Features, 90) {
			add([]string{"Features", ""}[min(i, 1)], line)
		}
	}
	if c.Files > 0 {
		add("Files", fmt.Sprintf("%d, %s", c.Files, ui.Bytes(c.Bytes)))
	}
	for _, r := range c.Releases {
		add("Release", release(&r))
	}
	if v := c.Verity; v != nil {
		add("Hashes", fmt.Sprintf("%s of %d blocks of %s, in blocks of %s", v.Algorithm, v.DataBlocks, ui.Bytes(int64(v.DataBlockSize)), ui.Bytes(int64(v.HashBlockSize))))
		if v.Data > 0 {
			add("Data", fmt.Sprintf("partition %d", v.Data))
		}
		add("UUID", v.UUID.String())
		add("Salt", v.Salt.String())
		add("Root hash", v.RootHash.String())
		list = append(list, field{"State", v.State, d.state(v.State)})
	}
	if s := c.Signature; s != nil {
		list = append(list, d.signature(s, s.RootHash.String())...)
	}
	if l := c.LUKS; l != nil {
		list = append(list, luksFields(l)...)
	}
	if s := c.Swap; s != nil {
		add("Swap space", ui.Bytes(s.Size))
		add("Label", s.Label)
		add("UUID", s.UUID.String())
	}
	if c.Problem != "" {
		list = append(list, field{"Problem", c.Problem, d.style.Bad})
	}
	return list
}

func (d *describer) signature(s *inspect.Signature, of string) []field {
	return []field{
		{name: "Signature of", text: of}, {name: "Signed by", text: s.Signer}, {name: "Certificate", text: s.Fingerprint.String()},
		{"State", s.State, d.state(s.State)},
	}
}

func luksFields(l *inspect.LUKS) []field {
	var slots []string
	for _, s := range l.Slots {
		slots = append(slots, fmt.Sprintf("%d (%s)", s.Number, s.KDF))
	}
	cipher := l.Cipher
	if l.KeySize > 0 {
		cipher += fmt.Sprintf(", key of %d bits", l.KeySize)
	}
	if l.SectorSize > 0 {
		cipher += ", sectors of " + ui.Bytes(int64(l.SectorSize))
	}
	return []field{
		{name: "Encrypted", text: fmt.Sprintf("LUKS version %d", l.Version)}, {name: "Label", text: l.Label}, {name: "UUID", text: l.UUID},
		{name: "Cipher", text: cipher}, {name: "Key slots", text: strings.Join(slots, ", ")},
		{name: "Tokens", text: strings.Join(l.Tokens, ", ")}, {name: "Requirements", text: strings.Join(l.Requirements, ", ")},
	}
}

// release names a release in one line.
func release(r *inspect.Release) string {
	name := r.Fields["PRETTY_NAME"]
	if name == "" {
		var parts []string
		for _, key := range slices.Sorted(maps.Keys(r.Fields)) {
			parts = append(parts, key+"="+r.Fields[key])
		}
		name = oneLine(strings.Join(parts, " "))
	}
	if r.Path == "" {
		return name
	}
	return name + " (/" + r.Path + ")"
}

// program writes what is known of a program for firmware.
func (d *describer) program(p *inspect.Program) {
	kind := "UEFI program"
	if p.UKI {
		kind = "unified kernel image"
	}
	if p.Path != "" {
		fmt.Fprintf(d.w, "\n  %s\n", d.style.Bold(ui.Printable(p.Path)))
	}
	if p.Problem != "" {
		d.fields(field{"Problem", p.Problem, d.style.Bad})
		return
	}
	list := []field{{name: "Kind", text: fmt.Sprintf("%s for %s, %s", kind, p.Architecture, ui.Bytes(p.Size))}}
	if p.Release != nil {
		list = append(list, field{name: "Release", text: release(p.Release)})
	}
	list = append(list, field{name: "Kernel", text: p.Uname}, field{name: "Command line", text: p.CommandLine})
	for _, b := range p.Boots {
		list = append(list, d.boot(&b, p.CommandLine)...)
	}
	var sections []string
	for _, s := range p.Sections {
		sections = append(sections, fmt.Sprintf("%s (%s)", s.Name, ui.Bytes(s.Size)))
	}
	for i, line := range wrap(sections, 90) {
		list = append(list, field{name: []string{"Sections", ""}[min(i, 1)], text: line})
	}
	if len(p.Signatures) == 0 {
		list = append(list, field{"Signature", "none", d.style.Faint})
	}
	for _, s := range p.Signatures {
		list = append(list, d.signature(&s, "")...)
	}
	d.fields(list...)
}

// boot writes what is known of a way to boot an image whose own command line is
// known already.
func (d *describer) boot(b *inspect.Boot, commandLine string) []field {
	var list []field
	if b.ID != "" || b.Title != "" {
		name := b.ID
		if b.Title != "" {
			name += " (" + b.Title + ")"
		}
		list = append(list, field{name: "Profile", text: name})
	}
	if b.CommandLine != commandLine {
		list = append(list, field{name: "Command line", text: b.CommandLine})
	}
	if b.Register != nil {
		list = append(list, field{name: "Register 11", text: b.Register.String() + " (SHA-256, when the initrd starts)"})
	}
	switch b.PoliciesState {
	case "":
	case inspect.Good:
		list = append(list, field{"Policies", fmt.Sprintf("%d, signed", b.Policies), d.style.Good})
	default:
		list = append(list, field{"Policies", fmt.Sprintf("%d: %s", b.Policies, b.PoliciesState), d.style.Bad})
	}
	return list
}
