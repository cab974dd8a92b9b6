package uki

import (
	"encoding/binary"
	"io"
	"strings"
)

// initrdAlignment is what an initrd that others follow is padded to, as the
// kernel wants it for cpio archives.
const initrdAlignment = 4

var le = binary.LittleEndian

// part is a section to be written.
type part struct {
	name    string
	content io.Reader
	size    int64             // of the content
	kernel  *io.SectionReader // instead of content
}

// parts are the sections in the order in which they are written. Whether the
// profile is among them is the caller's choice, since it moves.
func (s *Sections) parts(profile bool) []part {
	var list []part
	add := func(name string, r *io.SectionReader) {
		if r != nil {
			list = append(list, part{name: name, content: again(r), size: r.Size()})
		}
	}
	text := func(name, text string) {
		if text != "" {
			add(name, Text(text))
		}
	}
	if profile {
		text(".profile", s.Profile)
	}
	text(".osrel", s.OSRelease)
	text(".cmdline", s.CommandLine)
	add(".dtb", s.DeviceTree)
	for _, r := range s.DeviceTrees {
		add(".dtbauto", r)
	}
	text(".hwids", string(s.HardwareIDs))
	text(".uname", s.Uname)
	add(".splash", s.Splash)
	text(".pcrpkey", s.PublicKey)
	if s.Kernel != nil {
		list = append(list, part{name: ".linux", kernel: s.Kernel})
	}
	if r, size := joined(s.Initrds); r != nil {
		list = append(list, part{name: ".initrd", content: r, size: size})
	}
	for _, f := range s.Firmware {
		text(".efifw", string(f.encode()))
	}
	add(".ucode", s.Microcode)
	for _, e := range s.Extra {
		add(e.Name, e.Content)
	}
	return list
}

// again returns a reader of the same content that begins at its start.
func again(r *io.SectionReader) *io.SectionReader { return io.NewSectionReader(r, 0, r.Size()) }

// joined reads initrds one after the other. Where there are several, each is
// padded; it returns nil when there is none.
func joined(initrds []*io.SectionReader) (io.Reader, int64) {
	if len(initrds) == 1 {
		return again(initrds[0]), initrds[0].Size()
	}
	var list []io.Reader
	var size int64
	for _, r := range initrds {
		padding := -r.Size() & (initrdAlignment - 1)
		list = append(list, again(r), strings.NewReader(strings.Repeat("\x00", int(padding))))
		size += r.Size() + padding
	}
	if list == nil {
		return nil, 0
	}
	return io.MultiReader(list...), size
}

// encode is the content of an .efifw section: what kind of firmware it is, a
// size that is always the same, the sizes of the ID with its zero byte and of
// the content, and then these.
func (f Firmware) encode() []byte {
	const capsule, header = 0, 16
	b := le.AppendUint32([]byte{capsule}, header)
	b = le.AppendUint32(b, uint32(len(f.ID)+1))
	b = le.AppendUint32(b, uint32(len(f.Content)))
	b = append(append(b, f.ID...), 0)
	return append(b, f.Content...)
}
