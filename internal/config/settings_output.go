package config

// outputSettings returns the settings of [Output].
func outputSettings() []*Setting {
	return []*Setting{
		{
			Name: "Format", Section: "Output", Scope: Local, Long: "format", Short: "t",
			Help:      "kind of output",
			kind:      enum("", "", FormatConfext, FormatCPIO, FormatDirectory, FormatDisk, FormatESP, FormatNone, FormatPortable, FormatSysext, FormatTar, FormatUKI, FormatOCI, FormatAddon),
			Default:   FormatDisk,
			Specifier: 't', matches: equal, built: only("directory", "tar", "cpio", "disk", "esp", "sysext", "confext", "portable", "uki", "addon", "none"),
		},
		{
			Name: "ManifestFormat", Section: "Output", Scope: Local, Long: "manifest-format",
			Help: "also list the contents in these formats",
			kind: manifestFormats,
		},
		{
			Name: "Output", Section: "Output", Scope: Local, Long: "output", Short: "o",
			Help:      "name of the output without extension",
			kind:      filename,
			fallback:  defaultOutput,
			Specifier: 'o', ForTools: true, keepsEmpty: true, built: full,
		},
		{
			Name: "OutputExtension", Section: "Output", Scope: Local, Long: "output-extension",
			Help:       "extension of the output without dot",
			kind:       filename,
			fallback:   defaultExtension,
			keepsEmpty: true, built: full,
		},
		{
			Name: "OutputSize", Section: "Output", Scope: Local, Long: "output-size",
			Help:  "enlarge a disk image to this size",
			kind:  size,
			built: full,
		},
		{
			Name: "CompressOutput", Section: "Output", Scope: Local, Long: "compress-output",
			Help:     "compress the output",
			kind:     compression,
			fallback: defaultCompression,
			built:    only("none", "zstd", "xz", "gz"),
		},
		{
			Name: "CompressLevel", Section: "Output", Scope: Inherit, Long: "compress-level",
			Help:    "level of compression",
			kind:    compressLevel,
			Default: 3,
			built:   full,
		},
		{
			Name: "OutputDirectory", Section: "Output", Scope: Universal, Long: "output-directory", Short: "O",
			Help:  "directory for the outputs",
			kind:  pathKind(pathRule{}),
			Paths: []string{"mkosi.output"}, OldLong: []string{"output-dir"}, Specifier: 'O', ForTools: true, built: full,
		},
		{
			Name: "OutputMode", Section: "Output", Scope: Universal, Long: "output-mode",
			Help:  "access mode of the output in octal",
			kind:  mode,
			built: full,
		},
		{
			Name: "ImageVersion", Section: "Output", Scope: Inherit, Long: "image-version",
			Help:  "version of the image",
			kind:  text,
			Paths: []string{"mkosi.version"}, ReadsPath: true, Specifier: 'v', matches: matchVersion, built: full,
		},
		{
			Name: "ImageId", Section: "Output", Scope: Inherit, Long: "image-id",
			Help:      "identifier of the image",
			kind:      text,
			Specifier: 'i', matches: matchGlob, built: full,
		},
		{
			Name: "OciLabels", Section: "Output", Scope: Local, Long: "oci-labels",
			Help: "labels for the configuration of an OCI image",
			kind: labels,
		},
		{
			Name: "OciAnnotations", Section: "Output", Scope: Local, Long: "oci-annotations",
			Help: "annotations for the manifest of an OCI image",
			kind: labels,
		},
		{
			Name: "SplitArtifacts", Section: "Output", Scope: Local, Long: "split-artifacts",
			Help:    "parts of the image to write beside it",
			kind:    artifacts,
			Default: defaultArtifacts,
			built:   full,
		},
		{
			Name: "RepartDirectories", Section: "Output", Scope: Local, Long: "repart-directory",
			Help:  "directories with partition definitions",
			kind:  pathList(pathRule{required: true}),
			Paths: []string{"mkosi.repart"}, OldLong: []string{"repart-dir"}, built: full,
		},
		{
			Name: "SectorSize", Section: "Output", Scope: Inherit, Long: "sector-size",
			Help:  "sector size of a disk image in bytes",
			kind:  sectorSize,
			built: full,
		},
		{
			Name: "Overlay", Section: "Output", Scope: Local, Long: "overlay",
			Help:  "keep only what differs from the base trees",
			kind:  boolean,
			built: full,
		},
		{
			Name: "Seed", Section: "Output", Scope: Local, Long: "seed",
			Help:     "UUID that other identifiers are derived from, or random",
			kind:     seed,
			fallback: randomSeed,
			Paths:    []string{"mkosi.seed"}, ReadsPath: true, built: full,
		},
		{
			Name: "ElTorito", Section: "Output", Scope: Local, Long: "el-torito",
			Help:    "make a disk image that also starts from optical media",
			kind:    feature,
			Default: Auto,
			built:   full,
		},
		{
			Name: "ElToritoSystem", Section: "Output", Scope: Local, Long: "el-torito-system",
			Help:  "system identifier for optical media",
			kind:  text,
			built: full,
		},
		{
			Name: "ElToritoVolume", Section: "Output", Scope: Local, Long: "el-torito-volume",
			Help:  "volume identifier for optical media",
			kind:  text,
			built: full,
		},
		{
			Name: "ElToritoPublisher", Section: "Output", Scope: Local, Long: "el-torito-publisher",
			Help:  "publisher identifier for optical media",
			kind:  text,
			built: full,
		},
		{
			Name: "CleanScripts", Section: "Output", Scope: Local, Long: "clean-script",
			Help:  "run these scripts after the outputs are removed",
			kind:  globList(),
			Paths: []string{"mkosi.clean"}, Globs: []string{"mkosi.clean.d/*"}, built: full,
		},
	}
}
