package repart

import (
	"fmt"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/mkosi-go/mkosi/internal/disk/gpt"
)

// setter applies one line of a definition.
type setter func(d *Definition, value string, o *Options) error

// settings has every setting of repart.d(5).
var settings = map[string]setter{
	"Type":          setType,
	"Label":         setLabel,
	"UUID":          to(func(d *Definition) **uuid.UUID { return &d.UUID }, parseUUID),
	"Priority":      to(func(d *Definition) *int32 { return &d.Priority }, parsePriority),
	"Weight":        to(func(d *Definition) *uint32 { return &d.Weight }, parseWeight),
	"PaddingWeight": to(func(d *Definition) *uint32 { return &d.PaddingWeight }, parseWeight),

	"SizeMinBytes":    to(func(d *Definition) **uint64 { return &d.SizeMin }, parseMinSize),
	"SizeMaxBytes":    to(func(d *Definition) **uint64 { return &d.SizeMax }, parseMaxSize),
	"PaddingMinBytes": to(func(d *Definition) **uint64 { return &d.PaddingMin }, parseMinSize),
	"PaddingMaxBytes": to(func(d *Definition) **uint64 { return &d.PaddingMax }, parseMaxSize),
	"Minimize":        to(func(d *Definition) *Minimize { return &d.Minimize }, parseMinimize),
	"SupplementFor":   to(func(d *Definition) *string { return &d.SupplementFor }, parseDefinitionName),

	"Format":               to(func(d *Definition) *string { return &d.Format }, parseFormat),
	"CopyBlocks":           expanded(func(d *Definition) *string { return &d.CopyBlocks }, parseCopyBlocks),
	"CopyFiles":            list(func(d *Definition) *[]CopyFiles { return &d.CopyFiles }, appendCopyFiles),
	"ExcludeFiles":         list(func(d *Definition) *[]string { return &d.ExcludeFiles }, appendExcludes),
	"ExcludeFilesTarget":   list(func(d *Definition) *[]string { return &d.ExcludeFilesTarget }, appendExcludes),
	"MakeDirectories":      list(func(d *Definition) *[]string { return &d.MakeDirectories }, appendDirectories),
	"MakeSymlinks":         list(func(d *Definition) *[]Symlink { return &d.MakeSymlinks }, appendSymlinks),
	"Subvolumes":           list(func(d *Definition) *[]Subvolume { return &d.Subvolumes }, appendSubvolumes),
	"DefaultSubvolume":     expanded(func(d *Definition) *string { return &d.DefaultSubvolume }, parseOptionalPath),
	"AddValidateFS":        to(func(d *Definition) **bool { return &d.AddValidateFS }, parseSwitch),
	"Compression":          to(func(d *Definition) *string { return &d.Compression }, parseCompression),
	"CompressionLevel":     to(func(d *Definition) *string { return &d.CompressionLevel }, parseCompression),
	"FileSystemSectorSize": to(func(d *Definition) *uint32 { return &d.FileSystemSectorSize }, parseSectorSize),

	"Encrypt":            to(func(d *Definition) *Encrypt { return &d.Encrypt }, parseEncrypt),
	"EncryptKDF":         to(func(d *Definition) *KDF { return &d.EncryptKDF }, parseChoice(KDFArgon2id, KDFPBKDF2, KDFMinimal)),
	"KeyFile":            to(func(d *Definition) *string { return &d.KeyFile }, parseOptionalPath),
	"VolumeLabel":        expanded(func(d *Definition) *string { return &d.VolumeLabel }, parseLabel),
	"Discard":            to(func(d *Definition) **bool { return &d.Discard }, parseSwitch),
	"Integrity":          checked(parseIntegrity),
	"IntegrityAlgorithm": checked(parseChoice("hmac-sha1", "hmac-sha256", "hmac-sha512")),
	"TPM2PCRs":           refused("no key can be sealed to a TPM while an image is made"),
	"BlockDeviceReplace": refused("it replaces the disk of a running system, and an image is made without one"),
	"VolumeName":         refused("it is for BlockDeviceReplace=, which needs a running system (write EncryptedVolume= for crypttab)"),

	"Verity":                   to(func(d *Definition) *VerityRole { return &d.Verity }, parseVerity),
	"VerityMatchKey":           to(func(d *Definition) *string { return &d.VerityMatchKey }, parseMatchKey),
	"VerityDataBlockSizeBytes": to(func(d *Definition) *uint32 { return &d.VerityDataBlockSize }, parseBlockSize),
	"VerityHashBlockSizeBytes": to(func(d *Definition) *uint32 { return &d.VerityHashBlockSize }, parseBlockSize),

	"Flags":          to(func(d *Definition) *uint64 { return &d.Flags }, parseFlags),
	"NoAuto":         to(func(d *Definition) **bool { return &d.NoAuto }, parseSwitch),
	"ReadOnly":       to(func(d *Definition) **bool { return &d.ReadOnly }, parseSwitch),
	"GrowFileSystem": to(func(d *Definition) **bool { return &d.GrowFileSystem }, parseSwitch),
	"FactoryReset":   to(func(d *Definition) *bool { return &d.FactoryReset }, parseBool),

	"MountPoint":      list(func(d *Definition) *[]MountPoint { return &d.MountPoints }, appendMountPoint),
	"EncryptedVolume": to(func(d *Definition) **EncryptedVolume { return &d.EncryptedVolume }, parseEncryptedVolume),
	"SplitName":       setSplitName,
}

// to stores a value in a field of the definition.
func to[T any](field func(*Definition) *T, parse func(string) (T, error)) setter {
	return func(d *Definition, value string, _ *Options) error {
		v, err := parse(value)
		if err != nil {
			return err
		}
		*field(d) = v
		return nil
	}
}

// expanded does so with a value in which specifiers mean something.
func expanded[T any](field func(*Definition) *T, parse func(string) (T, error)) setter {
	store := to(field, parse)
	return func(d *Definition, value string, o *Options) error {
		value, err := o.expand(value)
		if err != nil {
			return err
		}
		return store(d, value, o)
	}
}

// list adds a value to a list.
func list[T any](field func(*Definition) *[]T, add func([]T, string, *Options) ([]T, error)) setter {
	return func(d *Definition, value string, o *Options) error {
		all, err := add(*field(d), value, o)
		if err != nil {
			return err
		}
		*field(d) = all
		return nil
	}
}

// checked is for settings that change nothing about an image, but have to be
// right.
func checked(parse func(string) (string, error)) setter {
	return func(_ *Definition, value string, _ *Options) error {
		_, err := parse(value)
		return err
	}
}

// refused is for settings that nothing but their default can be built for.
func refused(why string) setter {
	return func(_ *Definition, value string, _ *Options) error {
		if value == "" {
			return nil
		}
		return fmt.Errorf("not supported: %s", why)
	}
}

func setType(d *Definition, value string, o *Options) error {
	t, err := ParsePartitionType(value, o.Architecture)
	if err != nil {
		return err
	}
	d.Type = t
	return nil
}

func setLabel(d *Definition, value string, o *Options) error {
	label, err := o.expand(value)
	if err != nil {
		return err
	}
	if err := gpt.CheckName(label); err != nil {
		if utf8.ValidString(label) {
			// Too long, which systemd-repart passes over, too.
			err = fmt.Errorf("%w: %w", err, errIgnored)
		}
		return err
	}
	d.Label, d.NoLabel = label, label == ""
	return nil
}

// setSplitName checks the specifiers; those that depend on the partition are
// replaced when it is finished.
func setSplitName(d *Definition, value string, o *Options) error {
	name, err := o.expandSplitName(value)
	if err != nil {
		return err
	}
	if _, err := ExpandSplitName(name, FinishedPartition{}); err != nil {
		return err
	}
	d.SplitName = name
	if name == "" {
		d.SplitName = defaultSplitName
	}
	return nil
}
