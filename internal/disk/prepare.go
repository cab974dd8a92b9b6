package disk

import (
	"context"
	"fmt"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/mkosi-go/mkosi/internal/disk/gpt"
	"github.com/mkosi-go/mkosi/internal/disk/repart"
)

// prepare finds out everything about the partitions but their places.
func (b *builder) prepare(ctx context.Context) error {
	if err := b.readExisting(); err != nil {
		return err
	}
	if err := gpt.CheckSectorSize(b.sectorSize()); err != nil {
		return err
	}
	if err := b.identify(); err != nil {
		return err
	}
	if err := b.group(); err != nil {
		return err
	}
	if err := b.makeVolumes(); err != nil {
		return err
	}
	if err := b.generateTables(); err != nil {
		return err
	}
	return b.openSources(ctx)
}

// identify gives each partition its label and its identifier.
func (b *builder) identify() error {
	defs, err := b.chooseDefinitions()
	if err != nil {
		return err
	}
	deferred, err := deferredTypes(b.Defer, architecture(defs))
	if err != nil {
		return err
	}
	count, existing := map[string]int{}, b.existing()
	for i := range defs {
		def := &defs[i]
		name := def.Type.Name
		p := &part{
			def:      def,
			derived:  PartitionUUID(b.Seed, def.Type.UUID, count[name]),
			label:    b.labelOf(def),
			deferred: deferred[name] || b.DeferEmpty && def.Format == repart.FormatEmpty || b.DeferFactoryReset && def.FactoryReset,
		}
		p.uuid = p.derived
		if def.UUID != nil {
			p.uuid = *def.UUID
		}
		if old := existing[def.Type.UUID]; count[name] < len(old) {
			p.adopt(old[count[name]])
		}
		count[name]++
		if err := gpt.CheckName(p.label); err != nil {
			return fmt.Errorf("%s: %w", def.File, err)
		}
		b.parts = append(b.parts, p)
	}
	b.supplement()
	return nil
}

// labelOf is the name of the next partition. One that follows from the type gets
// a number when an earlier partition has it.
func (b *builder) labelOf(def *repart.Definition) string {
	switch {
	case def.Label != "" || def.NoLabel:
		return def.Label
	case def.Format == repart.FormatEmpty:
		return repart.EmptyLabel
	}
	label := def.Type.DefaultLabel()
	for n := 2; slices.ContainsFunc(b.parts, func(p *part) bool { return p.label == label }); n++ {
		label = fmt.Sprintf("%s-%d", def.Type.DefaultLabel(), n)
	}
	return label
}

// deferredTypes resolves the aliases in a list of partition types.
func deferredTypes(list []string, arch string) (map[string]bool, error) {
	names := map[string]bool{}
	for _, s := range list {
		t, err := repart.ParsePartitionType(s, arch)
		if err != nil {
			return nil, fmt.Errorf("deferred partitions: %w", err)
		}
		names[t.Name] = true
	}
	return names, nil
}

// group finds the verity sets and checks that they are complete.
func (b *builder) group() error {
	sets := map[string]*veritySet{}
	for _, p := range b.parts {
		if p.def.Verity == repart.VerityOff {
			continue
		}
		key := p.def.VerityMatchKey
		s := sets[key]
		if s == nil {
			s = &veritySet{key: key}
			sets[key] = s
			b.sets = append(b.sets, s)
		}
		if err := s.add(p); err != nil {
			return err
		}
	}
	for _, s := range b.sets {
		if err := b.checkSet(s); err != nil {
			return err
		}
	}
	return nil
}

// add gives a partition its place in the set.
func (s *veritySet) add(p *part) error {
	place := map[repart.VerityRole]**part{
		repart.VerityDataRole: &s.data, repart.VerityHashRole: &s.hash, repart.VeritySignatureRole: &s.sig,
	}[p.def.Verity]
	if place == nil {
		return fmt.Errorf("%s: unknown verity role %q", p.def.File, p.def.Verity)
	}
	*place, p.group = p, s
	return nil
}

// checkSet returns an error when a set cannot be written.
func (b *builder) checkSet(s *veritySet) error {
	if s.data.deferred != s.hash.deferred {
		return fmt.Errorf("VerityMatchKey=%s: deferring the data or the hash partition needs deferring both", s.key)
	}
	if s.sig != nil && !s.sig.deferred && len(b.JoinSignatures) == 0 && (b.Key == nil || b.Certificate == nil) {
		return fmt.Errorf("%s: signing needs a verity key and its certificate", s.sig.def.File)
	}
	return nil
}

// openSources opens what the partitions are filled with, several at a time.
func (b *builder) openSources(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, p := range b.parts {
		for _, p := range []*part{p, p.merged} {
			if p == nil || p.exists || p.deferred && !p.minimized() {
				continue
			}
			g.Go(func() error {
				s, err := b.openSource(ctx, p)
				if err != nil {
					return fmt.Errorf("%s: %w", p.def.File, err)
				}
				p.source = s
				return nil
			})
		}
	}
	return g.Wait()
}
