package repart

// Attributes are the partition's attribute bits, with the defaults of repart.d(5).
func (d *Definition) Attributes() uint64 {
	flags := d.Flags
	known := d.Type.knownFlags()
	readOnly := d.Verity != VerityOff || !d.Type.IsTree()
	if d.ReadOnly != nil {
		readOnly = *d.ReadOnly
	}
	grow := !readOnly
	for _, f := range []struct {
		bit uint64
		set *bool
		def bool
	}{
		{flagNoAuto, d.NoAuto, false},
		{flagReadOnly, d.ReadOnly, readOnly},
		{flagGrowFileSystem, d.GrowFileSystem, grow},
	} {
		on := f.def
		if f.set != nil {
			on = *f.set
		}
		if known&f.bit == 0 {
			continue
		}
		if on {
			flags |= f.bit
		} else if f.set != nil {
			flags &^= f.bit
		}
	}
	return flags
}
