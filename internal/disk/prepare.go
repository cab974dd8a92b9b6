package disk

import (
	"context"
	"fmt"
	"runtime"

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
	return b.openSources(ctx)
}

// identify gives each partition its label and its identifier.
func (b *builder) identify() error {
	include, err := b.typeNames("included", b.Include)
	if err != nil {
		return err
	}
	exclude, err := b.typeNames("excluded", b.Exclude)
	if err != nil {
		return err
	}
	deferred, err := b.typeNames("deferred", b.Defer)
	if err != nil {
		return err
	}
	count, existing := map[string]int{}, b.countExisting()
	for i := range b.Definitions {
		def := &b.Definitions[i]
		name := def.Type.Name
		if len(include) > 0 && !include[name] || exclude[name] {
			continue
		}
		p := &part{
			def:      def,
			derived:  PartitionUUID(b.Seed, def.Type.UUID, count[name]),
			label:    labelOf(def, count[name]),
			deferred: deferred[name] || b.DeferEmpty && def.Format == repart.FormatEmpty || b.DeferFactoryReset && def.FactoryReset,
			exists:   count[name] < existing[def.Type.UUID.String()],
		}
		count[name]++
		p.uuid = p.derived
		if def.UUID != nil {
			p.uuid = *def.UUID
		}
		if err := gpt.CheckName(p.label); err != nil {
			return fmt.Errorf("%s: %w", def.File, err)
		}
		b.parts = append(b.parts, p)
	}
	if len(b.parts) == 0 {
		return fmt.Errorf("no partitions are defined")
	}
	return nil
}

// labelOf is the name of a partition, the n-th of its type from zero.
func labelOf(def *repart.Definition, n int) string {
	label := def.Type.DefaultLabel()
	switch {
	case def.Label != "" || def.NoLabel:
		return def.Label
	case def.Format == repart.FormatEmpty:
		return repart.EmptyLabel
	case n > 0:
		return fmt.Sprintf("%s-%d", label, n+1)
	}
	return label
}

// typeNames resolves the aliases in a list of partition types by the
// architectures that the definitions have.
func (b *builder) typeNames(what string, list []string) (map[string]bool, error) {
	arch := ""
	for _, d := range b.Definitions {
		if d.Type.Arch != "" {
			arch = d.Type.Arch
		}
	}
	names := map[string]bool{}
	for _, s := range list {
		t, err := repart.ParsePartitionType(s, arch)
		if err != nil {
			return nil, fmt.Errorf("%s partitions: %w", what, err)
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
	if *place != nil {
		return fmt.Errorf("%s and %s are both Verity=%s of VerityMatchKey=%s", (*place).def.File, p.def.File, p.def.Verity, s.key)
	}
	*place, p.group = p, s
	return nil
}

// checkSet returns an error when a set cannot be written.
func (b *builder) checkSet(s *veritySet) error {
	if s.data == nil || s.hash == nil {
		return fmt.Errorf("VerityMatchKey=%s needs one partition with Verity=data and one with Verity=hash", s.key)
	}
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
		if p.exists || p.deferred && p.def.Minimize == repart.MinimizeOff {
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
	return g.Wait()
}
