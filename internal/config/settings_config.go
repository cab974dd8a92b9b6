package config

// configSettings returns the settings of [Include] and [Config].
func configSettings() []*Setting {
	return []*Setting{
		{
			Name: "Include", Section: "Include", Scope: Local, Long: "include", Short: "I",
			Help:     "read more configuration from this file, directory or built-in configuration",
			kind:     pathList(pathRule{required: true, words: builtinConfigs}),
			ForTools: true, hidden: true, built: full,
		},
		{
			Name: "Profiles", Section: "Config", Scope: Inherit, Long: "profile",
			Help:     "use these profiles of mkosi.profiles/",
			kind:     profiles,
			OldNames: []string{"Profile"}, ForTools: true, matches: inList, built: full,
		},
		{
			Name: "Dependencies", Section: "Config", Scope: Local, Long: "dependency",
			Help:  "build these images first",
			kind:  commaList,
			built: full,
		},
		{
			Name: "MinimumVersion", Section: "Config", Scope: MainOnly, Long: "minimum-version",
			Help:  "refuse to work with an older version of mkosi",
			kind:  minimumVersion,
			built: full,
		},
		{
			Name: "ConfigureScripts", Section: "Config", Scope: Local, Long: "configure-script",
			Help:  "run these scripts to change the configuration",
			kind:  globList(),
			Paths: []string{"mkosi.configure"},
			built: full,
		},
		{
			Name: "PassEnvironment", Section: "Config", Scope: MainOnly, Long: "pass-environment",
			Help:  "pass these variables of Environment= to subimages",
			kind:  spaceList,
			built: full,
		},
	}
}
