package uki

import (
	"context"
	"maps"

	"github.com/mkosi-go/mkosi/internal/efi/pcr"
)

// measured are the digests of the sections that are measured when an image
// boots.
type measured struct {
	image       pcr.Image
	deviceTrees []pcr.Digests // of which at most one counts
}

func (m *measured) add(name string, d pcr.Digests) {
	switch {
	case name == ".dtbauto":
		m.deviceTrees = append(m.deviceTrees, d)
	case pcr.Measured(name):
		m.image[name] = d
	}
}

// with replaces sections by those of a profile.
func (m *measured) with(profile *measured) *measured {
	image := maps.Clone(m.image)
	maps.Copy(image, profile.image)
	return &measured{image, m.deviceTrees}
}

// boots are the ways to boot with these sections.
func (m *measured) boots(profile int) []Boot {
	if len(m.deviceTrees) == 0 {
		return []Boot{{profile, -1, maps.Clone(m.image)}}
	}
	var list []Boot
	for i, d := range m.deviceTrees {
		image := maps.Clone(m.image)
		image[".dtbauto"] = d
		list = append(list, Boot{profile, i, image})
	}
	return list
}

// policies notes the ways to boot with these sections, and writes the policies
// for them. (ukify 262 signs further profiles for the first devicetree only;
// they would release no secret on the other machines.)
func (w *writer) policies(ctx context.Context, o *Options, profile int, m *measured, unsigned bool) error {
	if o.Base.Kernel == nil {
		return nil
	}
	boots := m.boots(profile)
	w.result.Boots = append(w.result.Boots, boots...)
	if o.Policies == nil || unsigned {
		return nil
	}
	list := pcr.Policies{}
	for _, b := range boots {
		l, err := b.Image.Policies(*o.Policies)
		if err != nil {
			return err
		}
		list.Merge(l)
	}
	if w.result.Policies == nil {
		w.result.Policies = pcr.Policies{}
	}
	w.result.Policies.Merge(list)
	return w.text(ctx, ".pcrsig", list.Section(), m)
}
