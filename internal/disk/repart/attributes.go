package repart

// Attributes are the partition's attribute bits, as systemd-repart(8) sets
// them: NoAuto, ReadOnly and GrowFileSystem only on types that know them, and
// GrowFileSystem on every such partition that is not read-only, even if the
// definition says otherwise.
func (d *Definition) Attributes() uint64 {
	flags, known := d.Flags, d.Type.knownFlags()
	set := func(bit uint64, explicit *bool, byDefault bool) {
		switch {
		case known&bit == 0:
		case explicit == nil && byDefault, explicit != nil && *explicit:
			flags |= bit
		case explicit != nil:
			flags &^= bit
		}
	}
	readOnly := d.Verity == VerityDataRole || d.Verity == VeritySignatureRole || !d.Type.IsTree()
	set(flagReadOnly, d.ReadOnly, readOnly)
	if d.ReadOnly != nil {
		readOnly = *d.ReadOnly
	}
	set(flagNoAuto, d.NoAuto, d.Format == FormatEmpty)
	set(flagGrowFileSystem, d.GrowFileSystem, false)
	if !readOnly {
		set(flagGrowFileSystem, nil, true)
	}
	return flags
}
