package config

import (
	"fmt"
	"slices"
)

// effects looks for settings that were assigned in a file and have no effect
// on what the image is made into.
func (k *checker) effects(img *Image) {
	if img.chosenByHand() {
		return
	}
	for _, s := range table {
		origins := img.Origin(s.Name)
		if len(origins) == 0 || s.into != "" || s.isDefault(field(img, s)) {
			continue
		}
		// What was passed down, or lies there for another image's sake, is
		// nobody's mistake.
		last := origins[len(origins)-1]
		if last.Kind != FromFile || last.From != "" || k.shared(img, last) {
			continue
		}
		if why := pointless(img, s.Name); why != "" {
			k.warnings.add(img.problem(s.Name, "", "this has no effect: "+why, ""))
		}
	}
}

// chosenByHand reports whether the command line made another image of what the
// files describe. They need not fit that one.
func (img *Image) chosenByHand() bool {
	for _, name := range []string{"Format", "Bootable", "Distribution", "Architecture", "Initrds", "ToolsTree"} {
		if slices.ContainsFunc(img.Origin(name), func(o Origin) bool { return o.Kind == FromOption }) {
			return true
		}
	}
	return false
}

// shared reports whether an assignment stands in a file that is written for
// more than one configuration: it is included, a profile, or has conditions,
// as have the directories around it.
func (k *checker) shared(img *Image, o Origin) bool {
	src := k.c.sourceOf(img, o)
	if src == nil {
		return true
	}
	i := slices.Index(k.c.Sources, src)
	for depth := src.Depth; i >= 0; i-- {
		src := k.c.Sources[i]
		if src.Depth > depth || src.Image != img.Image {
			continue
		}
		if src.Include != nil || src.Role == RoleProfile || src.conditional {
			return true
		}
		if depth = src.Depth - 1; depth < 0 {
			break
		}
	}
	return false
}

// Formats with something that a setting is about.
var (
	partitioned = []Format{FormatDisk, FormatESP, FormatSysext, FormatConfext, FormatPortable}
	signable    = []Format{FormatDisk, FormatSysext, FormatConfext, FormatPortable}
	kernels     = []Format{FormatDisk, FormatUKI, FormatESP, FormatAddon, FormatTar, FormatCPIO, FormatDirectory, FormatOCI, FormatNone}
)

// pointless says why a setting has no effect in an image, "" if it has one.
func pointless(img *Image, setting string) string {
	switch setting {
	case "OciLabels", "OciAnnotations":
		return unlessFormat(img, FormatOCI)
	case "SectorSize":
		return unlessFormat(img, partitioned...)
	case "RepartDirectories", "Passphrase":
		return unlessFormat(img, signable...)
	case "OutputSize", "ElTorito", "ElToritoSystem", "ElToritoVolume", "ElToritoPublisher", "BiosBootloader":
		return unlessFormat(img, FormatDisk)
	case "Verity":
		return unlessFormat(img, signable...)
	case "Bootloader", "UnifiedKernelImages", "UnifiedKernelImageFormat", "ShimBootloader", "SignExpectedPcr":
		if img.Bootable == Disabled && plain(field(img, Lookup(setting))) != "none" {
			return "Bootable= is no"
		}
		return unlessFormat(img, kernels...)
	case "Overlay":
		if len(img.BaseTrees) == 0 {
			return "BaseTrees= is empty"
		}
	case "CompressLevel":
		if img.CompressOutput == CompressionNone {
			return "CompressOutput= is none"
		}
	case "CompressOutput":
		if slices.Contains([]Format{FormatDirectory, FormatNone}, img.Format) {
			return fmt.Sprintf("Format=%s makes no file", img.Format)
		}
	case "InitrdProfiles", "InitrdPackages", "InitrdVolatilePackages":
		if img.Image == MainImage && !slices.Contains(img.Dependencies, defaultInitrdName) {
			return "the image has no default initrd"
		}
	case "ToolsTreeDistribution", "ToolsTreeRelease", "ToolsTreeProfiles", "ToolsTreeMirror", "ToolsTreeSnapshot", "ToolsTreeRepositories",
		"ToolsTreeSandboxTrees", "ToolsTreePackages", "ToolsTreePackageDirectories":
		if img.ToolsTree == "" {
			return "ToolsTree= is not set to yes"
		}
	case "SecureBootAutoEnroll":
		if !img.SecureBoot {
			return "SecureBoot= is no"
		}
	case "SecureBootSignTool":
		return "no program is called, signatures are made natively"
	}
	return ""
}

func unlessFormat(img *Image, formats ...Format) string {
	if slices.Contains(formats, img.Format) {
		return ""
	}
	return "Format= is " + string(img.Format)
}
