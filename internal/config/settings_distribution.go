package config

// distributionSettings returns the settings of [Distribution].
func distributionSettings() []*Setting {
	return []*Setting{
		{
			Name: "Distribution", Section: "Distribution", Scope: Universal, Long: "distribution", Short: "d",
			Help:      "distribution to install",
			kind:      distributions,
			fallback:  defaultDistribution,
			Specifier: 'd', matches: equal, built: only("debian", "kali", "ubuntu"),
		},
		{
			Name: "Release", Section: "Distribution", Scope: Universal, Long: "release", Short: "r",
			Help:      "release of the distribution",
			kind:      text,
			fallback:  defaultRelease,
			Specifier: 'r', matches: equal, keepsEmpty: true, built: full,
		},
		{
			Name: "Architecture", Section: "Distribution", Scope: Universal, Long: "architecture",
			Help:      "processor architecture of the image",
			kind:      enum("", "", ArchAlpha, ArchArc, ArchArm, ArchArm64, ArchIA64, ArchLoongArch64, ArchMIPSLE, ArchMIPS64LE, ArchPARISC, ArchPPC, ArchPPC64, ArchPPC64LE, ArchRISCV32, ArchRISCV64, ArchS390, ArchS390X, ArchTileGX, ArchX86, ArchX86_64),
			fallback:  defaultArchitecture,
			Specifier: 'a', matches: matchArchitecture, built: support{native: true},
		},
		{
			Name: "Mirror", Section: "Distribution", Scope: Universal, Long: "mirror", Short: "m",
			Help:  "mirror to download packages from",
			kind:  text,
			built: full,
		},
		{
			Name: "Snapshot", Section: "Distribution", Scope: Universal, Long: "snapshot",
			Help:  "state of the archive to download packages from",
			kind:  text,
			Paths: []string{"mkosi.snapshot"}, ReadsPath: true, ForTools: true,
		},
		{
			Name: "LocalMirror", Section: "Distribution", Scope: Universal, Long: "local-mirror",
			Help:     "one flat repository to use instead of the mirror while building",
			kind:     text,
			ForTools: true, built: full,
		},
		{
			Name: "RepositoryKeyCheck", Section: "Distribution", Scope: Multiversal, Long: "repository-key-check",
			Help:    "check the signatures of repositories and packages",
			kind:    boolean,
			Default: true,
			built:   full,
		},
		{
			Name: "RepositoryKeyFetch", Section: "Distribution", Scope: Universal, Long: "repository-key-fetch",
			Help:     "fetch the keys of repositories from the network",
			kind:     boolean,
			fallback: defaultKeyFetch,
			ForTools: true, built: only("no"),
		},
		{
			Name: "Repositories", Section: "Distribution", Scope: Universal, Long: "repositories",
			Help:     "use these additional repositories or components",
			kind:     commaList,
			ForTools: true, matches: inList, built: full,
		},
	}
}
