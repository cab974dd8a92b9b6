package config

// bootSettings returns the settings of [Content] about how the image starts.
func bootSettings() []*Setting {
	return []*Setting{
		{
			Name: "Bootable", Section: "Content", Scope: Local, Long: "bootable",
			Help:    "make an image that starts on a machine",
			kind:    feature,
			Default: Auto,
			matches: equal, built: only("auto", "disabled"),
		},
		{
			Name: "Bootloader", Section: "Content", Scope: Local, Long: "bootloader",
			Help:    "EFI boot loader",
			kind:    enum("", "", BootloaderNone, BootloaderUKI, BootloaderSystemdBoot, BootloaderGrub, BootloaderUKISigned, BootloaderSystemdBootSigned, BootloaderGrubSigned),
			Default: BootloaderSystemdBoot,
			matches: equal,
		},
		{
			Name: "BiosBootloader", Section: "Content", Scope: Local, Long: "bios-bootloader",
			Help:    "boot loader for machines without EFI",
			kind:    enum("", "", BiosBootloaderNone, BiosBootloaderGrub),
			Default: BiosBootloaderNone,
		},
		{
			Name: "ShimBootloader", Section: "Content", Scope: Local, Long: "shim-bootloader",
			Help:    "shim to start the boot loader with",
			kind:    enum("", "", ShimNone, ShimSigned, ShimUnsigned),
			Default: ShimNone,
		},
		{
			Name: "UnifiedKernelImages", Section: "Content", Scope: Local, Long: "unified-kernel-images",
			Help:    "put kernel and initrd into one signed or unsigned file",
			kind:    enum(UKISigned, UKINone, UKINone, UKIAuto, UKISigned, UKIUnsigned),
			Default: UKIAuto,
		},
		{
			Name: "UnifiedKernelImageFormat", Section: "Content", Scope: Local, Long: "unified-kernel-image-format",
			Help: "name of unified kernel images",
			kind: filename,
		},
		{
			Name: "UnifiedKernelImageProfiles", Section: "Content", Scope: Local, Long: "uki-profile",
			Help:  "add these profiles to unified kernel images",
			kind:  ukiProfiles,
			Globs: []string{"mkosi.uki-profiles/*.conf"},
		},
		{
			Name: "Initrds", Section: "Content", Scope: Local, Long: "initrd",
			Help:     "use these initrds; default stands for the built-in one",
			kind:     pathList(pathRule{words: []string{"default"}}),
			fallback: defaultInitrds,
		},
		{
			Name: "MicrocodeHost", Section: "Content", Scope: Local, Long: "microcode-host",
			Help: "take only the microcode for this machine",
			kind: boolean,
		},
		{
			Name: "InitrdProfiles", Section: "Content", Scope: InitrdOnly, Long: "initrd-profile",
			Help:  "profiles of the default initrd",
			kind:  commaList,
			built: full,
		},
		{
			Name: "InitrdPackages", Section: "Content", Scope: InitrdOnly, Long: "initrd-package",
			Help:  "more packages for the default initrd",
			kind:  commaList,
			built: full,
		},
		{
			Name: "InitrdVolatilePackages", Section: "Content", Scope: InitrdOnly, Long: "initrd-volatile-package",
			Help:  "more packages for the default initrd, without caching",
			kind:  commaList,
			built: full,
		},
		{
			Name: "Devicetrees", Section: "Content", Scope: Local, Long: "devicetrees",
			Help:     "device trees for unified kernel images and boot entries",
			kind:     commaList,
			OldNames: []string{"Devicetree"},
		},
		{
			Name: "Splash", Section: "Content", Scope: Local, Long: "splash",
			Help: "picture to show while a unified kernel image starts",
			kind: pathKind(pathRule{absolute: true}),
		},
		{
			Name: "KernelCommandLine", Section: "Content", Scope: Local, Long: "kernel-command-line",
			Help: "words for the kernel command line",
			kind: spaceList,
		},
		{
			Name: "KernelModulesInclude", Section: "Content", Scope: Local, Long: "kernel-modules-include",
			Help: "keep kernel modules that match these regular expressions",
			kind: modules,
			into: "KernelModules", hidden: true,
		},
		{
			Name: "KernelModulesExclude", Section: "Content", Scope: Local, Long: "kernel-modules-exclude",
			Help: "remove kernel modules that match these regular expressions",
			kind: modules,
		},
		{
			Name: "KernelModules", Section: "Content", Scope: Local, Long: "kernel-modules",
			Help: "keep or, with a minus sign, remove these kernel modules",
			kind: commaList,
		},
		{
			Name: "KernelModulesIncludeHost", Section: "Content", Scope: Local, Long: "kernel-modules-include-host",
			Help: "keep the kernel modules that this machine has loaded",
			kind: boolean,
		},
		{
			Name: "KernelModulesInitrd", Section: "Content", Scope: Local, Long: "kernel-modules-initrd",
			Help:    "add an initrd with the kernel modules",
			kind:    boolean,
			Default: true,
		},
		{
			Name: "KernelModulesInitrdInclude", Section: "Content", Scope: Local, Long: "kernel-modules-initrd-include",
			Help: "put kernel modules that match these regular expressions into the initrd",
			kind: modules,
			into: "KernelInitrdModules", hidden: true,
		},
		{
			Name: "KernelModulesInitrdExclude", Section: "Content", Scope: Local, Long: "kernel-modules-initrd-exclude",
			Help: "keep kernel modules that match these regular expressions out of the initrd",
			kind: modules,
		},
		{
			Name: "KernelInitrdModules", Section: "Content", Scope: Local, Long: "kernel-initrd-modules",
			Help: "put these kernel modules into the initrd",
			kind: commaList,
		},
		{
			Name: "KernelModulesInitrdIncludeHost", Section: "Content", Scope: Local, Long: "kernel-modules-initrd-include-host",
			Help: "put the kernel modules that this machine has loaded into the initrd",
			kind: boolean,
		},
		{
			Name: "FirmwareInclude", Section: "Content", Scope: Local, Long: "firmware-include",
			Help: "keep firmware that matches these regular expressions",
			kind: modules,
			into: "FirmwareFiles", hidden: true,
		},
		{
			Name: "FirmwareExclude", Section: "Content", Scope: Local, Long: "firmware-exclude",
			Help: "remove firmware that matches these regular expressions",
			kind: modules,
		},
		{
			Name: "FirmwareFiles", Section: "Content", Scope: Local, Long: "firmware-files",
			Help: "keep or, with a minus sign, remove this firmware",
			kind: commaList,
		},
	}
}
