package uki

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/google/uuid"
)

const (
	// maxDescription is how large a description of a machine may be.
	maxDescription = 1 << 20
	// maxMachines is how many hardware IDs a table may have, and maxTexts how
	// many bytes the names in it.
	maxMachines = 1 << 16
	maxTexts    = 64 << 20
)

// Kinds of entries in the table of machines: what they select.
const (
	selectDeviceTree = 1
	selectFirmware   = 2
)

// hardwareEntry is the size of one entry of the table, and in its upper bits
// stands the kind.
const (
	hardwareEntry = 28
	kindShift     = 28
)

// machine is the description of a machine in a file.
type machine struct {
	Type       string      `json:"type"`
	Name       string      `json:"name"`
	Compatible string      `json:"compatible"`
	Firmware   string      `json:"fwid"`
	IDs        []uuid.UUID `json:"hwids"`
}

// HardwareIDs makes the content of a .hwids section of the descriptions of
// machines in a directory: of all files whose name ends in .json, in the form
// that ukify(1) documents for HWIDs=. Several may be about the same machine. The
// stub finds there which devicetree or firmware is for the machine that it runs
// on.
func HardwareIDs(dir fs.FS) ([]byte, error) {
	var list []*machine
	known := map[[3]string]*machine{}
	var count, size int
	err := fs.WalkDir(dir, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || path.Ext(name) != ".json" {
			return err
		}
		m, err := readMachine(dir, name)
		if err != nil {
			return fmt.Errorf("reading the description of a machine %s: %w", name, err)
		}
		if count += len(m.IDs); count > maxMachines {
			return fmt.Errorf("there are more than %d hardware IDs", maxMachines)
		}
		target, _ := m.selects()
		if size += len(m.Name) + len(target); size > maxTexts {
			return fmt.Errorf("the names of machines are longer than %d bytes", maxTexts)
		}
		key := [...]string{m.Type, m.Name, target}
		if same := known[key]; same != nil {
			same.IDs = append(same.IDs, m.IDs...)
			return nil
		}
		known[key] = &m
		list = append(list, &m)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return encodeMachines(list), nil
}

func readMachine(dir fs.FS, name string) (m machine, err error) {
	f, err := dir.Open(name)
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	data, err := io.ReadAll(io.LimitReader(f, maxDescription+1))
	if err != nil {
		return m, err
	}
	if len(data) > maxDescription {
		return m, fmt.Errorf("it is larger than %d bytes", maxDescription)
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return m, err
	}
	return m, m.check()
}

func (m machine) check() error {
	target, _ := m.selects()
	switch {
	case strings.Contains(m.Name+target, "\x00"):
		return errors.New("a name has a zero byte")
	case m.Name == "":
		return errors.New(`it has no "name"`)
	case len(m.IDs) == 0:
		return errors.New(`it has no "hwids"`)
	case m.Type == "devicetree" && m.Compatible == "":
		return errors.New(`it has no "compatible"`)
	case m.Type == "uefi-fw" && m.Firmware == "":
		return errors.New(`it has no "fwid"`)
	case m.Type != "devicetree" && m.Type != "uefi-fw":
		return fmt.Errorf(`its "type" is %q, neither "devicetree" nor "uefi-fw"`, m.Type)
	}
	return nil
}

// selects is what is for the machine, and of which kind that is.
func (m machine) selects() (string, uint32) {
	if m.Type == "uefi-fw" {
		return m.Firmware, selectFirmware
	}
	return m.Compatible, selectDeviceTree
}

// encodeMachines writes the table: an entry for each hardware ID of a machine,
// sorted, one of zeros, and the texts, which the entries give the place of.
func encodeMachines(list []*machine) []byte {
	texts := map[string]uint32{}
	count := 0
	for _, m := range list {
		slices.SortFunc(m.IDs, func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) })
		m.IDs = slices.Compact(m.IDs)
		count += len(m.IDs)
		target, _ := m.selects()
		texts[m.Name], texts[target] = 0, 0
	}
	sorted := slices.Sorted(maps.Keys(texts))
	at := uint32((count + 1) * hardwareEntry)
	for _, s := range sorted {
		texts[s] = at
		at += uint32(len(s)) + 1
	}
	var b []byte
	for _, m := range list {
		target, kind := m.selects()
		for _, id := range m.IDs {
			b = le.AppendUint32(b, kind<<kindShift|hardwareEntry)
			b = append(b, guid(id)...)
			b = le.AppendUint32(b, texts[m.Name])
			b = le.AppendUint32(b, texts[target])
		}
	}
	b = append(b, make([]byte, hardwareEntry)...)
	for _, s := range sorted {
		b = append(append(b, s...), 0)
	}
	return b
}

// guid is the form that firmware has identifiers in: the first three parts
// begin with their lowest byte.
func guid(id uuid.UUID) []byte {
	return []byte{id[3], id[2], id[1], id[0], id[5], id[4], id[7], id[6], id[8], id[9], id[10], id[11], id[12], id[13], id[14], id[15]}
}
