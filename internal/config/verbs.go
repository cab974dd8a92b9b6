package config

// Verb is what the program is asked to do.
type Verb string

// The verbs.
const (
	VerbInit           Verb = "init"
	VerbSummary        Verb = "summary"
	VerbExplain        Verb = "explain"
	VerbCheck          Verb = "check"
	VerbPlan           Verb = "plan"
	VerbCatConfig      Verb = "cat-config"
	VerbBuild          Verb = "build"
	VerbShell          Verb = "shell"
	VerbBoot           Verb = "boot"
	VerbVM             Verb = "vm"
	VerbTest           Verb = "test"
	VerbSSH            Verb = "ssh"
	VerbJournalctl     Verb = "journalctl"
	VerbCoredumpctl    Verb = "coredumpctl"
	VerbSysupdate      Verb = "sysupdate"
	VerbBox            Verb = "box"
	VerbDependencies   Verb = "dependencies"
	VerbClean          Verb = "clean"
	VerbServe          Verb = "serve"
	VerbBurn           Verb = "burn"
	VerbBump           Verb = "bump"
	VerbGenkey         Verb = "genkey"
	VerbSign           Verb = "sign"
	VerbInspect        Verb = "inspect"
	VerbVerify         Verb = "verify"
	VerbDiff           Verb = "diff"
	VerbDocumentation  Verb = "documentation"
	VerbCompletion     Verb = "completion"
	VerbLatestSnapshot Verb = "latest-snapshot"
	VerbHelp           Verb = "help"
)

// Options are the options of the program. They have no place in
// configuration files.
type Options struct {
	Force             int    // how often -f was given
	Directory         string // -C as given; "" reads no configuration when NoDirectory
	NoDirectory       bool   // -C "" was given
	Debug             bool
	DebugShell        bool
	DebugWorkspace    bool
	DebugSandbox      bool
	DebugTiming       bool
	TimingFile        string // where --debug-timing draws; "" for nowhere
	NoPager           bool
	GenkeyValidDays   int
	GenkeyCommonName  string // with %u standing for the user's name
	AutoBump          bool
	DocFormat         string // auto, markdown, man, pandoc or system
	JSON              bool
	All               bool // summary shows every setting
	WipeBuildDir      bool
	RerunBuildScripts bool
	Strict            bool     // warnings are errors
	JoinSignature     string   // HASH:SIGNATURE, as given
	Check             bool     // sign compares all data with its hashes first
	Certificates      []string // files with certificates that signatures are trusted with
	Ignore            []string // what diff does not compare
	Timeout           int      // seconds that booting, and each test, may take
	Help              bool
	Version           bool
}

// Verbs returns all verbs in the order of help.
func Verbs() []Verb {
	return []Verb{
		VerbInit, VerbSummary, VerbExplain, VerbCheck, VerbCatConfig, VerbPlan, VerbBuild, VerbShell, VerbBoot, VerbVM, VerbTest, VerbSSH, VerbJournalctl,
		VerbCoredumpctl, VerbSysupdate, VerbBox, VerbDependencies, VerbClean, VerbServe, VerbBurn, VerbBump,
		VerbGenkey, VerbSign, VerbInspect, VerbVerify, VerbDiff, VerbDocumentation, VerbCompletion, VerbLatestSnapshot, VerbHelp,
	}
}

// takesArgs reports whether anything may follow the verb.
func (v Verb) takesArgs() bool {
	switch v {
	case VerbExplain, VerbBuild, VerbShell, VerbBoot, VerbVM, VerbTest, VerbSSH, VerbJournalctl, VerbCoredumpctl, VerbSysupdate, VerbBox,
		VerbDependencies, VerbBurn, VerbSign, VerbInspect, VerbVerify, VerbDiff, VerbDocumentation, VerbCompletion, VerbHelp:
		return true
	}
	return false
}

// builds reports whether the verb makes images, makes them first where that is
// asked for, or says how it would.
func (v Verb) builds() bool {
	switch v {
	case VerbPlan, VerbBuild, VerbShell, VerbBoot, VerbVM, VerbTest, VerbSysupdate, VerbServe, VerbBurn:
		return true
	}
	return false
}

// NeedsConfig reports whether the verb has any use for a configuration.
func (v Verb) NeedsConfig() bool {
	switch v {
	case VerbGenkey, VerbDiff, VerbDocumentation, VerbCompletion, VerbHelp, VerbInit, VerbDependencies:
		return false
	}
	return true
}
