package config

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/mkosi-go/mkosi/internal/spelling"
)

// A ProgramOption is an option that is no setting: it has no place in
// configuration files.
type ProgramOption struct {
	Long, Short string // without dashes
	Argument    string // what stands for the argument in help, "" for none, "[=WORD]" if it may be missing
	Help        string // one sentence, no full stop

	bind func(f *pflag.FlagSet, o *Options, p ProgramOption)
}

// ProgramOptions returns the options of the program in the order of help.
func ProgramOptions() []ProgramOption {
	flag := func(field func(o *Options) *bool) func(*pflag.FlagSet, *Options, ProgramOption) {
		return func(f *pflag.FlagSet, o *Options, p ProgramOption) {
			f.BoolVarP(field(o), p.Long, p.Short, false, p.Help)
		}
	}
	word := func(field func(o *Options) *string, standard string) func(*pflag.FlagSet, *Options, ProgramOption) {
		return func(f *pflag.FlagSet, o *Options, p ProgramOption) {
			f.StringVarP(field(o), p.Long, p.Short, standard, p.Help)
		}
	}
	return []ProgramOption{
		{"help", "h", "", "show this help", flag(func(o *Options) *bool { return &o.Help })},
		{"version", "", "", "show the version", flag(func(o *Options) *bool { return &o.Version })},
		{"force", "f", "", "remove what an earlier build made; twice the cached images too, thrice the packages too",
			func(f *pflag.FlagSet, o *Options, p ProgramOption) { f.CountVarP(&o.Force, p.Long, p.Short, p.Help) }},
		{"directory", "C", "DIRECTORY", "read the configuration in this directory; none if it is empty",
			word(func(o *Options) *string { return &o.Directory }, "")},
		{"debug", "", "", "say what is done in detail", flag(func(o *Options) *bool { return &o.Debug })},
		{"debug-shell", "", "", "start a shell in the image where a command fails", flag(func(o *Options) *bool { return &o.DebugShell })},
		{"debug-workspace", "", "", "keep the workspace when a build fails", flag(func(o *Options) *bool { return &o.DebugWorkspace })},
		{"debug-sandbox", "", "", "trace the sandbox", flag(func(o *Options) *bool { return &o.DebugSandbox })},
		{"debug-timing", "", "[=FILE]", "say how long each step of a build took; draw it into an SVG file too",
			func(f *pflag.FlagSet, o *Options, p ProgramOption) {
				f.VarPF(&timingValue{o}, p.Long, p.Short, p.Help).NoOptDefVal = timingAlone
			}},
		{"no-pager", "", "", "do not page long output", flag(func(o *Options) *bool { return &o.NoPager })},
		{"genkey-valid-days", "", "DAYS", "how long a generated certificate is valid",
			func(f *pflag.FlagSet, o *Options, p ProgramOption) {
				f.IntVarP(&o.GenkeyValidDays, p.Long, p.Short, 730, p.Help)
			}},
		{"genkey-common-name", "", "NAME", "common name of a generated certificate; %u stands for the user",
			word(func(o *Options) *string { return &o.GenkeyCommonName }, "mkosi of %u")},
		{"auto-bump", "B", "", "raise the version of the image after a build", flag(func(o *Options) *bool { return &o.AutoBump })},
		{"doc-format", "", "FORMAT", "how to show documentation: auto, markdown, man, pandoc or system",
			word(func(o *Options) *string { return &o.DocFormat }, "auto")},
		{"json", "", "", "show data as JSON", flag(func(o *Options) *bool { return &o.JSON })},
		{"all", "", "", "let the summary show every setting, not only what differs from the default", flag(func(o *Options) *bool { return &o.All })},
		{"wipe-build-dir", "w", "", "empty the build directory before building", flag(func(o *Options) *bool { return &o.WipeBuildDir })},
		{"rerun-build-scripts", "R", "", "run build scripts although the image is there", flag(func(o *Options) *bool { return &o.RerunBuildScripts })},
		{"join-signature", "", "HASH:SIGNATURE", "sign: add this signature of a root hash, a DER file or base64: and its text",
			word(func(o *Options) *string { return &o.JoinSignature }, "")},
		{"check", "", "", "sign: compare all data with its hashes first", flag(func(o *Options) *bool { return &o.Check })},
		{"certificate", "", "FILE", "inspect, verify: trust signatures with this certificate; may be given several times",
			func(f *pflag.FlagSet, o *Options, p ProgramOption) {
				f.StringArrayVarP(&o.Certificates, p.Long, p.Short, nil, p.Help)
			}},
		{"ignore", "", "LIST", "diff: do not compare these: " + strings.Join(DiffIgnores(), ", "),
			func(f *pflag.FlagSet, o *Options, p ProgramOption) {
				f.StringSliceVarP(&o.Ignore, p.Long, p.Short, nil, p.Help)
			}},
		{"timeout", "", "SECONDS", "test: how long booting, and each test, may take",
			func(f *pflag.FlagSet, o *Options, p ProgramOption) {
				f.IntVarP(&o.Timeout, p.Long, p.Short, defaultTimeout, p.Help)
			}},
		{"strict", "", "", "check: warnings are errors", flag(func(o *Options) *bool { return &o.Strict })},
	}
}

// defaultTimeout is --timeout: a guest whose processor is emulated boots within minutes even on a busy machine.
const defaultTimeout = 900

// DiffIgnores are the words of --ignore.
func DiffIgnores() []string {
	return []string{"mode", "mtime", "owner", "xattrs", "uuid", "layout"}
}

// ArgumentOptional reports whether the option's argument may be missing; it can follow an equals sign only.
func (p ProgramOption) ArgumentOptional() bool { return strings.HasPrefix(p.Argument, "[=") }

// timingValue is the option --debug-timing.
type timingValue struct{ options *Options }

// timingAlone stands for the missing argument of --debug-timing. No argument of a process can hold it.
const timingAlone = "\x00"

func (v *timingValue) String() string { return "" }

func (v *timingValue) Type() string { return "file" }

func (v *timingValue) Set(text string) error {
	if text == timingAlone {
		text = ""
	} else if !strings.HasSuffix(text, ".svg") {
		return &Error{Setting: "debug-timing", Msg: fmt.Sprintf("--debug-timing draws SVG, and %q does not end in .svg", text),
			Hint: "without a file it prints a table only: --debug-timing"}
	}
	v.options.DebugTiming, v.options.TimingFile = true, text
	return nil
}

// argument is a setting on the command line.
type argument struct {
	setting   *Setting
	text      string
	directory string // what -C had said by then: relative paths start there
}

// commandLine is what the command line says.
type commandLine struct {
	options   Options
	verb      Verb
	verbArgs  []string
	arguments []argument
	warnings  []*Error
}

// argumentValue is a setting as an option: it keeps every use of it in order.
type argumentValue struct {
	cl      *commandLine
	setting *Setting
	old     string // the name of the option if it is an old one
}

func (v *argumentValue) String() string { return "" }

func (v *argumentValue) Type() string { return v.setting.Argument() }

func (v *argumentValue) Set(text string) error {
	if v.old != "" {
		v.cl.warnings = append(v.cl.warnings, &Error{Setting: v.setting.Name,
			Msg: fmt.Sprintf("--%s is the old name of --%s", v.old, v.setting.Long)})
	}
	v.cl.arguments = append(v.cl.arguments, argument{v.setting, text, v.cl.options.Directory})
	return nil
}

// Argument returns what stands for the option's argument in help.
func (s *Setting) Argument() string {
	if s.kind.choices != nil && len(s.kind.choices) <= 4 {
		return "{" + strings.Join(s.kind.choices, ",") + "}"
	}
	switch s.kind.name {
	case "boolean":
		return "BOOL"
	case "feature":
		return "{yes,no,auto}"
	case "path", "list of paths", "list of files":
		return "PATH"
	}
	word := s.kind.name[strings.LastIndexByte(s.kind.name, ' ')+1:]
	return strings.ToUpper(strings.TrimPrefix(word, "list"+" "))
}

// flags binds all options to a command line.
func (cl *commandLine) flags() *pflag.FlagSet {
	f := pflag.NewFlagSet("mkosi", pflag.ContinueOnError)
	f.SortFlags = false
	f.Usage = func() {}
	for _, p := range ProgramOptions() {
		p.bind(f, &cl.options, p)
	}
	for _, s := range table {
		short := s.Short
		if s.NoValue != "" && !s.OptionalValue && short != "" {
			// The short option takes no argument and the long one does, so
			// they are two; nobody can type the long name of the short one.
			only := f.VarPF(&argumentValue{cl: cl, setting: s}, "-"+short+" alone", short, s.Help)
			only.NoOptDefVal, only.Hidden = s.NoValue, true
			short = ""
		}
		flag := f.VarPF(&argumentValue{cl: cl, setting: s}, s.Long, short, s.Help)
		if s.OptionalValue {
			flag.NoOptDefVal = s.NoValue
		}
		for _, old := range s.OldLong {
			f.VarPF(&argumentValue{cl: cl, setting: s, old: old}, old, "", s.Help).Hidden = true
		}
	}
	return f
}

// CommandLine is a command line that was read.
type CommandLine struct {
	line *commandLine
	err  error
}

// ParseArgs reads a command line. What is wrong with it is told by
// [CommandLine.Verb] and by [Load].
func ParseArgs(args []string) *CommandLine {
	line, err := parseArgs(args)
	return &CommandLine{line, err}
}

// Verb returns what the command line asks for: its verb, or VerbHelp for the
// options that ask for help or the version.
func (c *CommandLine) Verb() (Verb, error) {
	if c.line.options.Help || c.line.options.Version {
		return VerbHelp, c.err
	}
	return c.line.verb, c.err
}

// parseArgs reads a command line: options may stand before and after the
// verb, and everything after "--" is the verb's.
func parseArgs(args []string) (*commandLine, error) {
	cl := &commandLine{verb: VerbBuild}
	f := cl.flags()
	if len(args) == 2 && args[0] == string(VerbHelp) && strings.HasPrefix(args[1], "-") {
		args = []string{args[0], "--", args[1]} // it asks about the option
	}
	if err := missingArgument(args); err != nil {
		return cl, err
	}
	if err := f.Parse(joinOptionalValues(args)); err != nil {
		return cl, optionError(f, err)
	}
	cl.options.NoDirectory = f.Changed("directory") && cl.options.Directory == ""
	before, rest := f.Args(), []string(nil)
	if n := f.ArgsLenAtDash(); n >= 0 {
		before, rest = before[:n], before[n:]
	}
	if len(before) > 0 {
		cl.verb = Verb(before[0])
		before = before[1:]
		if cl.verb == "sandbox" { // its name before it was called box
			cl.verb = VerbBox
		}
		if !slices.Contains(Verbs(), cl.verb) {
			return cl, &Error{Msg: fmt.Sprintf("unknown verb %q", string(cl.verb)), Hint: didYouMean(string(cl.verb), words(Verbs()))}
		}
	}
	cl.verbArgs = append(before, rest...)
	if len(cl.verbArgs) > 0 && !cl.verb.takesArgs() {
		return cl, &Error{Msg: fmt.Sprintf("%s takes no arguments, and there is %q", cl.verb, cl.verbArgs[0])}
	}
	if cl.options.All && cl.verb != VerbSummary {
		return cl, &Error{Setting: "all", Msg: fmt.Sprintf("%s does not take --all", cl.verb), Hint: "it is for mkosi summary"}
	}
	if err := cl.checkLooking(); err != nil {
		return cl, err
	}
	for _, o := range []struct {
		given bool
		name  string
	}{{cl.options.Check, "check"}, {cl.options.JoinSignature != "", "join-signature"}} {
		if o.given && cl.verb != VerbSign {
			return cl, &Error{Setting: o.name, Msg: fmt.Sprintf("%s does not take --%s", cl.verb, o.name), Hint: "it is for mkosi sign"}
		}
	}
	if err := cl.checkTimeout(f.Changed("timeout")); err != nil {
		return cl, err
	}
	if cl.options.RerunBuildScripts && !cl.verb.builds() {
		return cl, &Error{Setting: "rerun-build-scripts", Msg: fmt.Sprintf("--rerun-build-scripts has no use with %s, which builds nothing", cl.verb)}
	}
	if cl.options.RerunBuildScripts && cl.options.Force > 0 {
		return cl, &Error{Setting: "rerun-build-scripts", Msg: "--rerun-build-scripts does not go with --force",
			Hint: "--force builds the whole image, with all its scripts"}
	}
	if cl.options.GenkeyValidDays < 1 {
		return cl, &Error{Setting: "genkey-valid-days", Msg: fmt.Sprintf("--genkey-valid-days: %d is not a number of days", cl.options.GenkeyValidDays)}
	}
	formats := []string{"auto", "markdown", "man", "pandoc", "system"}
	if !slices.Contains(formats, cl.options.DocFormat) {
		return cl, &Error{Setting: "doc-format", Msg: fmt.Sprintf("--doc-format: %q is not a format", cl.options.DocFormat),
			Hint: "choose one of " + strings.Join(formats, ", ")}
	}
	return cl, nil
}

// checkLooking checks the options of the verbs that look into images.
func (cl *commandLine) checkLooking() error {
	if len(cl.options.Certificates) > 0 && cl.verb != VerbInspect && cl.verb != VerbVerify {
		return &Error{Setting: "certificate", Msg: fmt.Sprintf("%s does not take --certificate", cl.verb), Hint: "it is for mkosi inspect and mkosi verify"}
	}
	if len(cl.options.Ignore) > 0 && cl.verb != VerbDiff {
		return &Error{Setting: "ignore", Msg: fmt.Sprintf("%s does not take --ignore", cl.verb), Hint: "it is for mkosi diff"}
	}
	for _, word := range cl.options.Ignore {
		if !slices.Contains(DiffIgnores(), word) {
			return &Error{Setting: "ignore", Msg: fmt.Sprintf("--ignore: %q is nothing that can be ignored", word),
				Hint: "choose of " + strings.Join(DiffIgnores(), ", ")}
		}
	}
	return nil
}

// checkTimeout checks the option of the verb that waits for a guest.
func (cl *commandLine) checkTimeout(given bool) error {
	if given && cl.verb != VerbTest {
		return &Error{Setting: "timeout", Msg: fmt.Sprintf("%s does not take --timeout", cl.verb), Hint: "it is for mkosi test"}
	}
	if cl.options.Timeout < 1 {
		return &Error{Setting: "timeout", Msg: fmt.Sprintf("--timeout: %d is not a number of seconds", cl.options.Timeout)}
	}
	return nil
}

// missingArgument refuses an option where the argument of another belongs: an
// argument was forgotten, or is better written with an equals sign.
func missingArgument(args []string) error {
	for i, arg := range args[:max(len(args)-1, 0)] {
		if arg == "--" {
			return nil
		}
		s := settingOfOption(arg)
		if s == nil || s.OptionalValue || s.NoValue != "" && arg == "-"+s.Short || !isOption(args[i+1]) {
			continue
		}
		return &Error{Setting: s.Long, Msg: fmt.Sprintf("option %s needs an argument", arg),
			Hint: fmt.Sprintf("if %s is the argument, write --%s=%s", args[i+1], s.Long, args[i+1])}
	}
	return nil
}

// isOption reports whether a word looks like an option rather than a value,
// such as a negative number or several words.
func isOption(word string) bool {
	if len(word) < 2 || word[0] != '-' || strings.Contains(word, " ") {
		return false
	}
	_, err := strconv.ParseFloat(word, 64)
	return err != nil
}

// joinOptionalValues lets a boolean follow an option whose value is optional
// as a word of its own.
func joinOptionalValues(args []string) []string {
	var out []string
	for i := 0; i < len(args); i++ {
		out = append(out, args[i])
		if args[i] == "--" {
			return append(out, args[i+1:]...)
		}
		s := settingOfOption(args[i])
		if s == nil || !s.OptionalValue || i+1 == len(args) || !strings.HasPrefix(args[i], "--") {
			continue
		}
		if _, err := parseBool(args[i+1]); err == nil {
			i++
			out[len(out)-1] += "=" + args[i]
		}
	}
	return out
}

func settingOfOption(arg string) *Setting {
	for _, s := range table {
		if arg == "--"+s.Long || s.Short != "" && arg == "-"+s.Short {
			return s
		}
	}
	return nil
}

// optionError says what is wrong with an option in our own words.
func optionError(f *pflag.FlagSet, err error) error {
	var unknown *pflag.NotExistError
	var missing *pflag.ValueRequiredError
	var invalid *pflag.InvalidValueError
	var own *Error
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() != "":
		return &Error{Msg: fmt.Sprintf("unknown option -%s", unknown.GetSpecifiedName())}
	case errors.As(err, &unknown):
		var names []string
		f.VisitAll(func(fl *pflag.Flag) { names = append(names, fl.Name) })
		e := &Error{Msg: fmt.Sprintf("unknown option --%s", unknown.GetSpecifiedName())}
		if near := spelling.Nearest(unknown.GetSpecifiedName(), names); near != "" {
			e.Hint = fmt.Sprintf("did you mean --%s?", near)
		}
		return e
	case errors.As(err, &missing):
		return &Error{Setting: missing.GetSpecifiedName(), Msg: fmt.Sprintf("option %s needs an argument", dashed(missing.GetSpecifiedName()))}
	case errors.As(err, &invalid):
		return &Error{Setting: invalid.GetFlag().Name, Msg: fmt.Sprintf("--%s: %q is not a value it can have", invalid.GetFlag().Name, invalid.GetValue())}
	}
	return &Error{Msg: err.Error()}
}

func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}
