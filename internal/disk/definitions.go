package disk

import (
	"errors"

	"github.com/mkosi-go/mkosi/internal/disk/repart"
)

// chooseDefinitions returns the definitions that are to be followed, with the
// file systems that the environment asks for.
func (o *Options) chooseDefinitions() ([]repart.Definition, error) {
	getenv := o.Getenv
	if getenv == nil {
		getenv = func(string) string { return "" }
	}
	defs, err := repart.OverrideFormats(o.Definitions, getenv)
	if err != nil {
		return nil, err
	}
	if defs, err = repart.Select(defs, o.Include, o.Exclude, architecture(defs)); err != nil {
		return nil, err
	}
	if len(defs) == 0 {
		return nil, errors.New("no partitions are defined")
	}
	return defs, repart.Check(defs)
}

// architecture is that of the definitions, by which aliases of types are
// resolved.
func architecture(defs []repart.Definition) string {
	arch := ""
	for _, d := range defs {
		if d.Type.Arch != "" {
			arch = d.Type.Arch
		}
	}
	return arch
}

// supplement prepares for both that partitions with SupplementFor= are made and
// that they are merged into their targets, which the layout decides.
func (b *builder) supplement() {
	for _, p := range b.parts {
		if p.def.SupplementFor == "" {
			continue
		}
		for _, t := range b.parts {
			if t.def.Name() == p.def.SupplementFor && t != p {
				merged := *t
				def := repart.Merge(t.def, p.def)
				merged.def, merged.absorbed = &def, p
				p.target, t.merged = t, &merged
			}
		}
	}
}

// settle makes the partitions into which others were merged what they are then.
func (b *builder) settle() error {
	var err error
	for _, p := range b.parts {
		if p.merged == nil {
			continue
		}
		unused := p.merged
		if p.merged.absorbed.place.IsMerged {
			p.def, p.source, unused.source = p.merged.def, p.merged.source, p.source
		}
		if unused.source != nil {
			err = errors.Join(err, unused.source.close())
		}
		p.merged = nil
	}
	return err
}
