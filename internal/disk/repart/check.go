package repart

import "fmt"

// conflict is a setting that does not go with others.
type conflict struct{ setting, msg string }

func conflicts(setting, format string, args ...any) *conflict {
	return &conflict{setting, fmt.Sprintf(format, args...)}
}

// complete refuses combinations that have no meaning and fills in what follows
// from others.
func (d *Definition) complete() *conflict {
	if d.Type.Name == "" {
		return conflicts("", "setting Type= is missing (say what the partition is, such as Type=root)")
	}
	for _, check := range []func() *conflict{d.checkSizes, d.checkContent, d.checkVerity, d.checkMinimize} {
		if c := check(); c != nil {
			return c
		}
	}
	return nil
}

func (d *Definition) checkSizes() *conflict {
	switch {
	case d.SizeMin != nil && d.SizeMax != nil && *d.SizeMin > *d.SizeMax:
		return conflicts("SizeMinBytes", "%d is larger than SizeMaxBytes=%d", *d.SizeMin, *d.SizeMax)
	case d.PaddingMin != nil && d.PaddingMax != nil && *d.PaddingMin > *d.PaddingMax:
		return conflicts("PaddingMinBytes", "%d is larger than PaddingMaxBytes=%d", *d.PaddingMin, *d.PaddingMax)
	}
	return nil
}

// checkContent is about what fills the partition, and adds the file system that
// other settings imply.
func (d *Definition) checkContent() *conflict {
	if d.Format == "" {
		d.Format = d.impliedFormat()
		d.FormatImplied = d.Format != ""
	}
	validate := d.AddValidateFS != nil && *d.AddValidateFS
	switch {
	case d.CopyBlocks != "" && d.hasContent():
		return conflicts("CopyBlocks", "a copied file system cannot be filled with CopyFiles=, MakeDirectories= or MakeSymlinks= (leave out one of them)")
	case d.CopyBlocks != "" && d.Format != "":
		return conflicts("CopyBlocks", "blocks are copied instead of making a file system (leave out Format= and AddValidateFS=)")
	case (d.Format == FormatSwap || d.Format == FormatEmpty) && (d.hasContent() || validate):
		return conflicts(d.formatSetting(), "%s holds no files (leave out CopyFiles=, MakeDirectories=, MakeSymlinks= and AddValidateFS=, or give another file system)", d.Format)
	case d.DefaultSubvolume != "" && !d.hasSubvolume(d.DefaultSubvolume):
		return conflicts("DefaultSubvolume", "%s is not among Subvolumes=", d.DefaultSubvolume)
	}
	return nil
}

// formatSetting is the setting that the file system comes from.
func (d *Definition) formatSetting() string {
	if d.FormatImplied {
		return "Type"
	}
	return "Format"
}

// impliedFormat is the file system of a partition that names none.
func (d *Definition) impliedFormat() string {
	switch {
	case d.Type.Role == RoleSwap && d.CopyBlocks == "":
		return FormatSwap
	case !d.hasContent() && (d.AddValidateFS == nil || !*d.AddValidateFS) && (d.Encrypt == EncryptOff || d.CopyBlocks != ""):
		return ""
	case d.bootable():
		return FormatVFAT
	}
	return FormatExt4
}

func (d *Definition) hasSubvolume(path string) bool {
	for _, v := range d.Subvolumes {
		if v.Path == path {
			return true
		}
	}
	return false
}

func (d *Definition) checkVerity() *conflict {
	hashes := d.Verity == VerityHashRole || d.Verity == VeritySignatureRole
	switch {
	case d.Verity == VerityOff && d.VerityMatchKey != "":
		return conflicts("VerityMatchKey", "a match key needs Verity=data, hash or signature")
	case d.Verity == VerityOff:
		return nil
	case d.VerityMatchKey == "":
		return conflicts("Verity", "%s needs VerityMatchKey=, by which the partitions of a set find each other", d.Verity)
	case hashes && d.Encrypt != EncryptOff:
		return conflicts("Encrypt", "a partition with Verity=%s cannot be encrypted (encrypt the one with Verity=data)", d.Verity)
	case hashes && d.Format != "" && d.Format != FormatEmpty:
		return conflicts("Verity", "%s leaves no room for a file system (leave out Format=, CopyFiles=, MakeDirectories=, MakeSymlinks= and AddValidateFS=)", d.Verity)
	case d.Verity == VeritySignatureRole && (d.SizeMin != nil || d.SizeMax != nil):
		return conflicts("Verity", "the size of a signature is fixed (leave out SizeMinBytes= and SizeMaxBytes=)")
	case d.Verity == VerityDataRole && (d.Format == "" || d.Format == FormatEmpty) && d.CopyBlocks == "":
		return conflicts("Verity", "data needs something to protect: Format=, CopyFiles= or CopyBlocks=")
	}
	return nil
}

func (d *Definition) checkMinimize() *conflict {
	switch {
	case d.Minimize == MinimizeOff, d.Verity == VerityHashRole:
		return nil
	case d.Format == "" || d.Format == FormatEmpty:
		return conflicts("Minimize", "only a file system or verity hashes can be made as small as possible (set Format=)")
	case d.Minimize == MinimizeBest && !bestFormats[d.Format]:
		return conflicts("Minimize", "the smallest size of %s is not known before it is filled (use Minimize=guess)", d.Format)
	}
	return nil
}

// bestFormats are the file systems whose smallest size can be known.
var bestFormats = map[string]bool{FormatErofs: true, FormatSquashfs: true, FormatBtrfs: true}

// idle lists settings that have no effect, each with the reason.
func (d *Definition) idle(isSet func(setting string) bool) []*conflict {
	var all []*conflict
	add := func(setting string, without bool, why string) {
		if without && isSet(setting) {
			all = append(all, conflicts(setting, "has no effect %s", why))
		}
	}
	unencrypted := d.Encrypt == EncryptOff
	for _, setting := range []string{"EncryptKDF", "KeyFile", "VolumeLabel", "Discard", "EncryptedVolume"} {
		add(setting, unencrypted, "without Encrypt=")
	}
	add("IntegrityAlgorithm", true, "without Integrity=inline")
	known := d.Type.knownFlags()
	onType := "on the type " + d.Type.Name
	add("NoAuto", known&flagNoAuto == 0, onType)
	add("ReadOnly", known&flagReadOnly == 0, onType)
	add("GrowFileSystem", known&flagGrowFileSystem == 0, onType)
	return all
}
