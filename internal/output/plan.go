package output

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/disk"
	"github.com/mkosi-go/mkosi/internal/disk/repart"
	"github.com/mkosi-go/mkosi/resources"
)

// imagePlan is how a disk image is made, as far as its configuration tells.
type imagePlan struct {
	disk.VerityPlan
	// files are the definition files.
	files fs.FS
	// builtin says that they are the built-in ones of an extension, ignored that mkosi.repart/ is there and not used.
	builtin, ignored bool
	// warnings are what was ignored in the definitions.
	warnings []string
	// elTorito is nil unless the image is to start from optical media.
	elTorito *disk.ElTorito
}

// planImage plans the image of any format that has partitions but esp, whose only one depends on the tree. osRelease
// returns fields of the image's os-release(5); nil stands for that of an image that is not built yet.
func planImage(img *config.Image, osRelease func(string) string) (*imagePlan, error) {
	p := &imagePlan{}
	if err := p.find(img); err != nil {
		return nil, err
	}
	if err := p.planDefinitions(img, osRelease); err != nil {
		return nil, err
	}
	if err := p.checkPassphrase(img); err != nil {
		return nil, err
	}
	if img.Format == config.FormatDisk {
		var err error
		if p.elTorito, err = elTorito(img, p.Definitions); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// find finds the definition files of an image of any format that has partitions but esp.
func (p *imagePlan) find(img *config.Image) (err error) {
	if img.Format == config.FormatDisk {
		p.files, err = definitionFiles(img)
		return err
	}
	// The built-in ones are all that there is to an extension, unless RepartDirectories= names others; mkosi.repart/ is
	// for the disk that the configuration is about.
	dirs, found := explicitDirectories(img)
	if len(dirs) > 0 {
		p.files = directories(dirs)
		return nil
	}
	p.ignored, p.builtin = found, true
	name := string(img.Format)
	if extensionVerity(img) == disk.VerityDisabled {
		name += "-unsigned"
	}
	p.files, err = resources.Repart(name)
	return err
}

// extensionVerity is what Verity= means for the built-in definitions. Hashes that nobody vouches for protect nothing; who
// wants them says Verity=hash.
func extensionVerity(img *config.Image) disk.VerityMode {
	if mode := disk.VerityMode(img.Verity); mode != disk.VerityAuto || haveVerityKey(img) {
		return mode
	}
	return disk.VerityDisabled
}

// planDefinitions reads the definition files and decides about verity.
func (p *imagePlan) planDefinitions(img *config.Image, osRelease func(string) string) error {
	defs, err := p.read(img, osRelease)
	if err != nil {
		return err
	}
	if len(defs) == 0 {
		return fmt.Errorf("there is no partition definition, a file *.conf, in %s", strings.Join(img.RepartDirectories, ", "))
	}
	mode := disk.VerityMode(img.Verity)
	if p.builtin {
		mode = extensionVerity(img)
	}
	plan, err := disk.PlanVerity(defs, mode, haveVerityKey(img))
	if err != nil {
		return err
	}
	p.VerityPlan = *plan
	return repart.Check(p.Definitions)
}

// read reads the definition files, and lets variables change the file systems in them.
func (p *imagePlan) read(img *config.Image, osRelease func(string) string) ([]repart.Definition, error) {
	env, err := img.ReadEnvironment()
	if err != nil {
		return nil, err
	}
	if osRelease == nil {
		// What it says makes names, in which a digit may stand anywhere.
		osRelease = func(string) string { return "0" }
	}
	o := repart.Options{Architecture: string(img.Architecture), OSRelease: osRelease}
	if img.MachineId != nil {
		o.MachineID = strings.ReplaceAll(img.MachineId.String(), "-", "")
	}
	defs, warnings, err := repart.Parse(p.files, o)
	for _, w := range warnings {
		p.warnings = append(p.warnings, w.Error())
	}
	if err != nil {
		return nil, err
	}
	return repart.OverrideFormats(defs, func(name string) string { return env[name] })
}

func haveVerityKey(img *config.Image) bool { return img.VerityKey != "" && img.VerityCertificate != "" }

// checkPassphrase finds out whether Passphrase= is needed, and can be read.
func (p *imagePlan) checkPassphrase(img *config.Image) error {
	encrypted := slices.IndexFunc(p.Definitions, needsPassphrase)
	if encrypted < 0 {
		return nil
	}
	if img.Passphrase == "" {
		return fmt.Errorf("%s: Encrypt=key-file needs Passphrase=, a file mkosi.passphrase, or KeyFile=", p.Definitions[encrypted].File)
	}
	f, err := os.Open(img.Passphrase)
	if err != nil {
		return fmt.Errorf("setting Passphrase=: %w", err)
	}
	return f.Close()
}

// needsPassphrase reports whether a partition is opened with the passphrase of the image.
func needsPassphrase(d repart.Definition) bool {
	return d.Encrypt == repart.EncryptKeyFile && d.KeyFile == ""
}

// maxPassphrase is more than any passphrase has, in bytes; cryptsetup reads no more than 8 MiB.
const maxPassphrase = 8 << 20

// readPassphrase reads Passphrase= if a partition needs it.
func (p *imagePlan) readPassphrase(w *packer) ([]byte, error) {
	// It counts for partitions with a KeyFile= of their own, too.
	encrypted := func(d repart.Definition) bool { return d.Encrypt == repart.EncryptKeyFile }
	if w.Image.Passphrase == "" || !slices.ContainsFunc(p.Definitions, encrypted) {
		return nil, nil
	}
	f, err := os.Open(w.Image.Passphrase)
	if err != nil {
		return nil, fmt.Errorf("reading Passphrase=: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxPassphrase+1))
	if err == nil && len(b) > maxPassphrase {
		err = fmt.Errorf("%s is larger than %d bytes", w.Image.Passphrase, maxPassphrase)
	}
	if err != nil {
		return nil, fmt.Errorf("reading Passphrase=: %w", err)
	}
	if len(b) == 0 {
		return nil, errors.New("the file of Passphrase= is empty")
	}
	if b[len(b)-1] == '\n' {
		w.warn("the file of Passphrase= ends with a new line, which becomes a part of the passphrase")
	}
	return b, nil
}

// elTorito decides whether the image is to start from optical media, which the firmware does from an EFI system
// partition.
func elTorito(img *config.Image, defs []repart.Definition) (*disk.ElTorito, error) {
	isESP := func(d repart.Definition) bool { return d.Type.Role == repart.RoleESP }
	switch {
	case img.ElTorito == config.Disabled:
		return nil, nil
	case !slices.ContainsFunc(defs, isESP):
		if img.ElTorito == config.Enabled {
			return nil, errors.New("ElTorito=yes needs an EFI system partition, and the partition definitions have none with Type=esp")
		}
		return nil, nil
	case img.BiosBootloader == config.BiosBootloaderGrub && img.ElTorito != config.Enabled:
		return nil, nil // grub's boot sector lies where the descriptors would
	}
	for _, id := range []struct {
		setting, value string
		limit          int
	}{
		{"ElToritoSystem", img.ElToritoSystem, 32},
		{"ElToritoVolume", img.ElToritoVolume, 32},
		{"ElToritoPublisher", img.ElToritoPublisher, 128},
	} {
		if len(id.value) > id.limit {
			return nil, fmt.Errorf("%s=%s is longer than the %d characters of ISO 9660", id.setting, id.value, id.limit)
		}
	}
	return &disk.ElTorito{System: img.ElToritoSystem, Volume: img.ElToritoVolume, Publisher: img.ElToritoPublisher}, nil
}
