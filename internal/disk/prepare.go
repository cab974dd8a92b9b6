package disk

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/mkosi-go/mkosi/internal/disk/content"
	"github.com/mkosi-go/mkosi/internal/disk/gpt"
	"github.com/mkosi-go/mkosi/internal/disk/layout"
	"github.com/mkosi-go/mkosi/internal/disk/repart"
	"github.com/mkosi-go/mkosi/internal/disk/verity"
)

// prepare finds out everything about the partitions but their places.
func (b *builder) prepare(ctx context.Context) error {
	switch b.SectorSize {
	case 512, 1024, 2048, 4096:
	default:
		return fmt.Errorf("sector size %d is none of 512, 1024, 2048, 4096", b.SectorSize)
	}
	if len(b.Definitions) == 0 {
		return fmt.Errorf("no partitions are defined")
	}
	if err := b.identify(); err != nil {
		return err
	}
	if err := b.group(); err != nil {
		return err
	}
	for _, p := range b.parts {
		if p.def.Format == "" {
			continue
		}
		var err error
		if p.fs, err = b.openFileSystem(ctx, p); err != nil {
			return fmt.Errorf("%s: %w", p.def.File, err)
		}
	}
	return nil
}

// identify gives each partition its label and its identifier.
func (b *builder) identify() error {
	deferred, err := b.deferredTypes()
	if err != nil {
		return err
	}
	count := map[string]int{}
	for i := range b.Definitions {
		def := &b.Definitions[i]
		n := count[def.Type.Name]
		count[def.Type.Name]++
		p := &part{
			def:      def,
			label:    def.Label,
			derived:  PartitionUUID(b.Seed, def.Type.UUID, n),
			deferred: slices.Contains(deferred, def.Type.Name),
		}
		p.uuid = p.derived
		if def.UUID != nil {
			p.uuid = *def.UUID
		}
		if p.label == "" {
			p.label = def.Type.Name
			if n > 0 {
				p.label = fmt.Sprintf("%s-%d", p.label, n+1)
			}
		}
		if err := gpt.CheckName(p.label); err != nil {
			return fmt.Errorf("%s: %w", def.File, err)
		}
		b.parts = append(b.parts, p)
	}
	return nil
}

// deferredTypes resolves the aliases in Defer by the architectures that the
// definitions have.
func (b *builder) deferredTypes() ([]string, error) {
	arch := ""
	for _, d := range b.Definitions {
		if d.Type.Arch != "" {
			arch = d.Type.Arch
		}
	}
	var names []string
	for _, s := range b.Defer {
		t, err := repart.ParsePartitionType(s, arch)
		if err != nil {
			return nil, fmt.Errorf("deferred partitions: %w", err)
		}
		names = append(names, t.Name)
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
		p.group = s
		place := map[repart.VerityRole]**part{
			repart.VerityDataRole: &s.data, repart.VerityHashRole: &s.hash, repart.VeritySignatureRole: &s.sig,
		}[p.def.Verity]
		if place == nil {
			return fmt.Errorf("%s: unknown verity role %q", p.def.File, p.def.Verity)
		}
		if *place != nil {
			return fmt.Errorf("%s and %s are both Verity=%s of VerityMatchKey=%s", (*place).def.File, p.def.File, p.def.Verity, key)
		}
		*place = p
	}
	for _, s := range b.sets {
		if s.data == nil || s.hash == nil {
			return fmt.Errorf("VerityMatchKey=%s needs one partition with Verity=data and one with Verity=hash", s.key)
		}
		if s.data.deferred || s.hash.deferred {
			return fmt.Errorf("VerityMatchKey=%s: deferring the data or hash partition is not supported yet", s.key)
		}
		if s.sig != nil && !s.sig.deferred && (b.Key == nil || b.Certificate == nil) {
			return fmt.Errorf("%s: signing needs a verity key and its certificate", s.sig.def.File)
		}
		if d := s.data.def; d.Format == "ext4" && d.Minimize == repart.MinimizeOff {
			return fmt.Errorf("%s: Verity=data with Format=ext4 is not supported yet without Minimize=guess", d.File)
		}
	}
	return nil
}

// defaultMinSize is the size that a partition has at least when nothing says
// otherwise, in bytes.
const defaultMinSize = 10 << 20

// bounds returns what the layout has to know about the partition.
func (p *part) bounds() (*layout.Partition, error) {
	d := p.def
	b := &layout.Partition{
		Name: d.File, Priority: d.Priority, Weight: d.Weight, PaddingWeight: d.PaddingWeight,
		MinSize: defaultMinSize, MaxSize: layout.Unlimited, MaxPadding: layout.Unlimited,
	}
	if d.Minimize != repart.MinimizeOff {
		b.MinSize = layout.DefaultGrain
	}
	if d.SizeMin != nil {
		b.MinSize = max(int64(*d.SizeMin), layout.DefaultGrain)
	}
	if d.SizeMax != nil {
		b.MaxSize = max(int64(*d.SizeMax), layout.DefaultGrain)
		if d.SizeMin == nil {
			b.MinSize = min(b.MinSize, b.MaxSize)
		}
	}
	needed := int64(0)
	switch {
	case d.Verity == repart.VerityHashRole:
		needed = verity.Size(p.group.data.fs.size(), verity.Params{})
	case d.Verity == repart.VeritySignatureRole:
		b.MinSize, b.MaxSize = verity.SignatureSize, verity.SignatureSize
	case p.fs != nil:
		needed = p.fs.size()
	}
	if needed > b.MaxSize {
		return nil, fmt.Errorf("the content takes %d bytes, SizeMaxBytes= allows %d", needed, b.MaxSize)
	}
	b.MinSize = max(b.MinSize, (needed+layout.DefaultGrain-1)/layout.DefaultGrain*layout.DefaultGrain)
	if d.PaddingMin != nil {
		b.MinPadding = int64(*d.PaddingMin)
	}
	if d.PaddingMax != nil {
		b.MaxPadding = int64(*d.PaddingMax)
	}
	return b, nil
}

// apiDirectories are folders whose content never belongs into an image.
var apiDirectories = []string{"/proc/", "/sys/", "/dev/", "/tmp/", "/run/", "/var/tmp/"}

// selection is what goes into the partition's file system.
func (b *builder) selection(p *part) content.Selection {
	d := p.def
	s := content.Selection{
		Root:          b.Root,
		Exclude:       slices.Concat(apiDirectories, d.ExcludeFiles),
		ExcludeTarget: d.ExcludeFilesTarget,
		Directories:   d.MakeDirectories,
		ClampMtime:    b.SourceDateEpoch,
	}
	explicit := map[string]bool{}
	for _, c := range d.CopyFiles {
		s.Copies = append(s.Copies, content.Copy{Source: c.Source, Target: c.Target})
		explicit[c.Source] = true
	}
	if d.Type.Role == repart.RoleRoot && d.Type.IsTree() {
		for _, q := range b.parts {
			for _, dir := range q.def.Type.CoveredDirs() {
				if q != p && !explicit[dir] {
					s.Exclude = append(s.Exclude, dir+"/")
				}
			}
		}
	}
	return s
}

// validateXattrs are the attributes by which systemd-validatefs@.service(8)
// recognizes that a file system is mounted from the partitions that it was
// made for: lists of strings that each end in a zero byte.
func (p *part) validateXattrs() []content.Xattr {
	if on := p.def.AddValidateFS; on != nil && !*on {
		return nil
	}
	members := []*part{p}
	if s := p.group; s != nil {
		members = []*part{s.data, s.hash}
		if s.sig != nil {
			members = append(members, s.sig)
		}
	}
	var labels, types []string
	for _, m := range members {
		labels = append(labels, m.label)
		types = append(types, m.def.Type.UUID.String())
	}
	list := func(s []string) []byte {
		slices.Sort(s)
		return []byte(strings.Join(s, "\x00") + "\x00")
	}
	xattrs := []content.Xattr{
		{Name: "user.validatefs.gpt_label", Value: list(labels)},
		{Name: "user.validatefs.gpt_type_uuid", Value: list(types)},
	}
	if dir := p.def.Type.MountPoint(); dir != "" {
		xattrs = append(xattrs, content.Xattr{Name: "user.validatefs.mount_point", Value: list([]string{dir})})
	}
	return xattrs
}
