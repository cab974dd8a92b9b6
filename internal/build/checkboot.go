package build

import (
	"slices"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/kernel"
)

// signsBoot reports whether a build signs what firmware starts.
func signsBoot(img *config.Image) bool {
	return img.SecureBoot && (boots(img) || usesBootLoader(img) || img.Format == config.FormatUKI || img.Format == config.FormatAddon)
}

// checkBoot complains about what would keep an image from being made bootable, as far as its settings tell.
func checkBoot(cfg *config.Config, img *config.Image, earlier []*Job, add func(hint, format string, args ...any)) {
	for _, k := range bootKeys(img) {
		k.check(add)
	}
	if img.SignInitrdPCRs == config.Enabled && !slices.Contains(img.SplitArtifacts, config.ArtifactPCRs) && !wantsPCRSignature(img) {
		add("set SignExpectedPcr=yes, or add pcrs to SplitArtifacts=", "SignInitrdPCRs=yes has nothing to sign")
	}
	if err := kernel.CheckDevicetrees(img.Devicetrees); err != nil {
		add("", "%w", err)
	}
	if img.Architecture.EFI() == "" {
		switch {
		case treeIsInitrd(img.Format):
			add("set another Format=", "there is no UEFI firmware for Architecture=%s, and nothing else starts Format=%s", img.Architecture, img.Format)
		case img.Bootable == config.Enabled && img.Bootloader != config.BootloaderNone:
			add("set Bootloader=none", "there is no UEFI firmware for Architecture=%s", img.Architecture)
		}
	}
	for _, initrd := range img.Initrds {
		if boots(img) && !pathExists(initrd) && !produced(cfg, initrd, earlier) {
			add("", "Initrds=: %s does not exist", initrd)
		}
	}
	for _, s := range []kernel.Settings{
		{Modules: img.KernelModules, ModulesExclude: img.KernelModulesExclude, Firmware: img.FirmwareFiles, FirmwareExclude: img.FirmwareExclude},
		{Modules: img.KernelInitrdModules, ModulesExclude: img.KernelModulesInitrdExclude},
	} {
		if err := s.Check(); err != nil {
			add("", "selecting kernel modules and firmware: %w", err)
		}
	}
}
