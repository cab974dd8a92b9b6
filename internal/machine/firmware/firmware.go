// Package firmware finds the firmware that QEMU can start a machine with, by the descriptors that distributions install
// beside it: JSON files whose meaning QEMU's docs/interop/firmware.json defines.
package firmware

import (
	"encoding/json"
	"fmt"
	"path"
	"path/filepath"
	"slices"
)

// Descriptor is what is known of one firmware.
type Descriptor struct {
	// Name is the name of the descriptor's file, whose first digits order descriptors by preference.
	Name        string
	Description string
	// Executable is the absolute path of the firmware's code, in raw format.
	Executable string
	// Template is the absolute path of an empty or filled variable store that each machine gets a copy of, in raw format; ""
	// for firmware that keeps no variables.
	Template string

	interfaces []string
	targets    []target
	features   []string
}

type target struct {
	Architecture string
	Machines     []string
}

// The features that a machine or its user cares about.
const (
	SecureBoot   = "secure-boot"   // can do Secure Boot
	EnrolledKeys = "enrolled-keys" // its template has keys, Microsoft's, so that Secure Boot is on
	RequiresSMM  = "requires-smm"  // needs system management mode
)

// Limits of a descriptor: a directory of them can be anybody's.
const (
	maxDescriptor = 1 << 20
	maxFiles      = 1000
)

// file is a descriptor as it is written.
type file struct {
	Description    string   `json:"description"`
	InterfaceTypes []string `json:"interface-types"`
	Mapping        struct {
		Device     string `json:"device"`
		Mode       string `json:"mode"`
		Executable flash  `json:"executable"`
		Template   flash  `json:"nvram-template"`
	} `json:"mapping"`
	Targets  []target `json:"targets"`
	Features []string `json:"features"`
}

type flash struct {
	Filename string `json:"filename"`
	Format   string `json:"format"`
}

// Parse reads a descriptor. It fails on one that is not valid and on firmware that is not mapped as flash memory in raw
// format, which this program cannot use.
func Parse(name string, data []byte) (*Descriptor, error) {
	if len(data) > maxDescriptor {
		return nil, fmt.Errorf("it has more than %d bytes", maxDescriptor)
	}
	var f file
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, err
	}
	d := &Descriptor{
		Name: name, Description: f.Description, Executable: f.Mapping.Executable.Filename,
		interfaces: f.InterfaceTypes, targets: f.Targets, features: f.Features,
	}
	switch {
	case f.Mapping.Device != "flash":
		return nil, fmt.Errorf("its firmware is mapped as %q, not as flash", f.Mapping.Device)
	case f.Mapping.Mode == "" || f.Mapping.Mode == "split":
		d.Template = f.Mapping.Template.Filename
		if !filepath.IsAbs(d.Template) || f.Mapping.Template.Format != "raw" {
			return nil, fmt.Errorf("its variables are %q in the format %q, not an absolute path in raw format", d.Template, f.Mapping.Template.Format)
		}
	case f.Mapping.Mode != "stateless":
		return nil, fmt.Errorf("its flash has the mode %q, not split or stateless", f.Mapping.Mode)
	}
	if !filepath.IsAbs(d.Executable) || f.Mapping.Executable.Format != "raw" {
		return nil, fmt.Errorf("its code is %q in the format %q, not an absolute path in raw format", d.Executable, f.Mapping.Executable.Format)
	}
	return d, nil
}

// Has reports whether the firmware has a feature.
func (d *Descriptor) Has(feature string) bool { return slices.Contains(d.features, feature) }

// Need is what a machine wants of its firmware.
type Need struct {
	Architecture string // in the names of QEMU's programs, such as "x86_64"
	Machine      string // the full name of the machine type, such as "pc-q35-"; a version may follow
	SecureBoot   bool   // exactly as wanted
	Enrolled     bool   // exactly as wanted
}

// Fits reports whether the firmware is UEFI firmware for what is needed.
func (d *Descriptor) Fits(n Need) bool {
	if !slices.Contains(d.interfaces, "uefi") || d.Template == "" || d.Has(SecureBoot) != n.SecureBoot || d.Has(EnrolledKeys) != n.Enrolled {
		return false
	}
	return slices.ContainsFunc(d.targets, func(t target) bool {
		return t.Architecture == n.Architecture && slices.ContainsFunc(t.Machines, func(pattern string) bool {
			ok, err := path.Match(pattern, n.Machine)
			return ok && err == nil
		})
	})
}

// Choose returns the first firmware that fits, nil if none does.
func Choose(list []*Descriptor, n Need) *Descriptor {
	if i := slices.IndexFunc(list, func(d *Descriptor) bool { return d.Fits(n) }); i >= 0 {
		return list[i]
	}
	return nil
}
