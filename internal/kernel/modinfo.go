package kernel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
)

// modinfo is what a module says about itself, see modinfo(8).
type modinfo struct {
	// depends are modules that it cannot be loaded without.
	depends []string
	// wants are modules that its soft and weak dependencies name: it is loaded
	// without them, but may not work, see modprobe.d(5).
	wants []string
	// firmware are files that it asks for, relative to the firmware directory;
	// the names may be patterns.
	firmware []string
}

var errNoModule = errors.New("not a kernel module")

// maxInfo is the size of a .modinfo section, in bytes, beyond which a module is
// not believed. The largest of Linux 6.12 have some ten thousand.
const maxInfo = 4 << 20

// parseModule returns what an uncompressed module, an ELF file of any machine,
// says in its section .modinfo.
func parseModule(b []byte) (modinfo, error) {
	section, err := findSection(b, ".modinfo")
	if err != nil {
		return modinfo{}, err
	}
	if len(section) > maxInfo {
		return modinfo{}, errors.New("its .modinfo section is too large")
	}
	var info modinfo
	for field := range bytes.SplitSeq(section, []byte{0}) {
		if key, value, ok := strings.Cut(string(field), "="); ok {
			info.add(key, value)
		}
	}
	return info, nil
}

// add takes in one field.
func (m *modinfo) add(key, value string) {
	switch key {
	case "depends":
		m.depends = append(m.depends, splitList(value, ",")...)
	case "softdep":
		for _, name := range strings.Fields(value) {
			if name != "pre:" && name != "post:" {
				m.wants = append(m.wants, name)
			}
		}
	case "weakdep":
		m.wants = append(m.wants, strings.Fields(value)...)
	case "firmware":
		if value != "" {
			m.firmware = append(m.firmware, value)
		}
	}
}

// splitList splits a list and drops what is empty in it.
func splitList(text, separator string) []string {
	var list []string
	for part := range strings.SplitSeq(text, separator) {
		if part != "" {
			list = append(list, part)
		}
	}
	return list
}

// The fields of an ELF header, a section header and the special values that are
// needed; System V ABI, chapter 4.
const (
	elfMagic   = "\x7fELF"
	elfClass64 = 2
	elfBig     = 2
	shnXindex  = 0xffff
)

// elf reads the section headers of an ELF file. Every access is checked against
// the length of the file.
type elf struct {
	b     []byte
	order binary.ByteOrder
	wide  bool // 64 bits
	table uint64
	size  uint64 // of one header
	count uint64
}

// section is where a section lies, and the offset of its name.
type section struct {
	name         uint32
	link         uint32
	offset, size uint64
}

// findSection returns the content of the first section of that name.
func findSection(b []byte, name string) ([]byte, error) {
	f, names, err := openELF(b)
	if err != nil {
		return nil, err
	}
	for i := range f.count {
		s, ok := f.section(i)
		if !ok {
			break
		}
		if uint64(s.name) < uint64(len(names)) && bytes.HasPrefix(names[s.name:], append([]byte(name), 0)) {
			return f.content(s)
		}
	}
	return nil, errors.New("it has no section " + name)
}

// openELF reads the file header and the names of sections.
func openELF(b []byte) (*elf, []byte, error) {
	if len(b) < 64 || string(b[:4]) != elfMagic {
		return nil, nil, errNoModule
	}
	f := &elf{b: b, order: binary.LittleEndian, wide: b[4] == elfClass64}
	if b[5] == elfBig {
		f.order = binary.BigEndian
	}
	var index uint64
	if f.wide {
		f.table = f.order.Uint64(b[40:])
		f.size, f.count, index = f.short(58), f.short(60), f.short(62)
	} else {
		f.table = uint64(f.order.Uint32(b[32:]))
		f.size, f.count, index = f.short(46), f.short(48), f.short(50)
	}
	if f.size < 40 || f.wide && f.size < 64 {
		return nil, nil, errNoModule
	}
	// Numbers that do not fit are in the first section header.
	first, ok := f.section(0)
	if !ok {
		return nil, nil, errNoModule
	}
	if f.count == 0 {
		f.count = first.size
	}
	if index == shnXindex {
		index = uint64(first.link)
	}
	s, ok := f.section(index)
	if !ok {
		return nil, nil, errNoModule
	}
	names, err := f.content(s)
	return f, names, err
}

func (f *elf) short(at int) uint64 { return uint64(f.order.Uint16(f.b[at:])) }

// section returns a section header; ok is false when the file has none there.
func (f *elf) section(i uint64) (s section, ok bool) {
	length := uint64(len(f.b))
	if f.table > length || i >= (length-f.table)/f.size {
		return s, false
	}
	h := f.b[f.table+i*f.size:]
	s.name = f.order.Uint32(h)
	if f.wide {
		s.offset, s.size, s.link = f.order.Uint64(h[24:]), f.order.Uint64(h[32:]), f.order.Uint32(h[40:])
	} else {
		s.offset, s.size, s.link = uint64(f.order.Uint32(h[16:])), uint64(f.order.Uint32(h[20:])), f.order.Uint32(h[24:])
	}
	return s, true
}

func (f *elf) content(s section) ([]byte, error) {
	length := uint64(len(f.b))
	if s.offset > length || s.size > length-s.offset {
		return nil, errors.New("a section reaches beyond its end")
	}
	return f.b[s.offset : s.offset+s.size], nil
}
