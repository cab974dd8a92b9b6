package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/manual"
	"github.com/mkosi-go/mkosi/internal/ui"
)

// verbGroup is verbs that belong together.
type verbGroup struct {
	title string
	verbs []config.Verb
}

func verbGroups() []verbGroup {
	return []verbGroup{
		{"Building", []config.Verb{config.VerbBuild, config.VerbPlan, config.VerbClean, config.VerbGenkey, config.VerbSign, config.VerbBump, config.VerbInit,
			config.VerbDependencies, config.VerbLatestSnapshot}},
		{"Looking at the configuration", []config.Verb{config.VerbSummary, config.VerbExplain, config.VerbCheck, config.VerbCatConfig}},
		{"Looking into images", []config.Verb{config.VerbInspect, config.VerbVerify, config.VerbDiff}},
		{"Running images", []config.Verb{config.VerbShell, config.VerbBoot, config.VerbVM, config.VerbTest, config.VerbSSH, config.VerbJournalctl,
			config.VerbCoredumpctl, config.VerbSysupdate, config.VerbServe, config.VerbBurn, config.VerbBox}},
		{"Help", []config.Verb{config.VerbHelp, config.VerbDocumentation, config.VerbCompletion}},
	}
}

// commonOptions are those of the overview.
func commonOptions() []string {
	return []string{"help", "version", "force", "directory", "json", "debug", "no-pager",
		"distribution", "release", "format", "output", "output-directory", "package", "profile"}
}

// exitCodes are the same in the manual.
const exitCodes = `
Exit codes:
  0    done
  1    the build, or whatever else the verb does, failed; a script that failed: its own exit code;
       verify: something is wrong with the image; diff: the two differ
  2    the command line or the configuration is wrong; nothing was done
  3    diff: the two could not be compared
  70   a bug in mkosi
  130  interrupted with Ctrl-C; in general 128 and the number of the signal
`

// help shows an overview, or what its argument asks for.
func (a *app) help(ctx context.Context) error {
	topic := ""
	if a.cfg.Verb == config.VerbHelp && len(a.cfg.VerbArgs) > 0 {
		if len(a.cfg.VerbArgs) > 1 {
			return &config.Error{Msg: fmt.Sprintf("help takes one word, and there is also %q", a.cfg.VerbArgs[1])}
		}
		topic = a.cfg.VerbArgs[0]
	}
	switch topic {
	case "":
		return a.styled(ctx, overview)
	case "options":
		return a.styled(ctx, optionList)
	case "settings":
		return a.styled(ctx, settingList)
	}
	return a.helpAbout(ctx, topic)
}

// overview is what everyone should know.
func overview(w io.Writer, s ui.Style) error {
	fmt.Fprintf(w, "Build operating system images.\n\n%s\n  mkosi [OPTION...] [VERB] [-- ARGUMENT...]\n", s.Bold("Usage:"))
	var later []string
	for _, g := range verbGroups() {
		title := "\n" + s.Bold(g.title+":") + "\n"
		for _, v := range g.verbs {
			if verbs[v] == nil {
				later = append(later, string(v))
				continue
			}
			fmt.Fprint(w, title)
			title = ""
			entry(w, s, string(v), v.Help())
		}
	}
	fmt.Fprintf(w, "\nNot supported yet: %s.\n\n%s\n", strings.Join(later, ", "), s.Bold("Common options:"))
	for _, name := range commonOptions() {
		optionEntry(w, s, name)
	}
	fmt.Fprint(w, exitCodes)
	fmt.Fprintf(w, `
%s
  mkosi help SETTING     a setting, a verb or an option, in full
  mkosi help options     all options
  mkosi help settings    all settings
  mkosi documentation    the manual
`, s.Bold("More:"))
	return nil
}

// optionEntry writes the line of an option, of the program or of a setting.
func optionEntry(w io.Writer, s ui.Style, name string) {
	for _, o := range config.ProgramOptions() {
		if o.Long == name {
			entry(w, s, optionLine(o.Short, o.Long, o.Argument), o.Help)
		}
	}
	for _, set := range config.Settings() {
		if set.Long == name {
			entry(w, s, optionLine(set.Short, set.Long, set.Argument()), set.Help+" ("+set.Name+"=)")
		}
	}
}

// optionList shows all options.
func optionList(w io.Writer, s ui.Style) error {
	fmt.Fprintln(w, s.Bold("Options:"))
	for _, o := range config.ProgramOptions() {
		optionEntry(w, s, o.Long)
	}
	for _, section := range config.Sections() {
		fmt.Fprintf(w, "\n%s\n", s.Bold("Settings of section ["+section+"]:"))
		for _, set := range config.Settings() {
			if set.Section == section && set.Long != "" {
				optionEntry(w, s, set.Long)
			}
		}
	}
	return nil
}

// settingList shows all settings by their names in configuration files.
func settingList(w io.Writer, s ui.Style) error {
	for i, section := range config.Sections() {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintln(w, s.Bold("["+section+"]"))
		for _, set := range config.Settings() {
			if set.Section == section {
				entry(w, s, set.Name+"=", set.Help)
			}
		}
	}
	return nil
}

// helpAbout shows one entry in full. A word that is a verb means the verb, in any other form the setting or option.
func (a *app) helpAbout(ctx context.Context, topic string) error {
	markdown := ""
	setting, hint := config.FindSetting(topic)
	if text := programEntry(topic); text != "" {
		markdown = text
	} else if setting != nil {
		if a.cfg.Options.JSON {
			return a.writeJSON(describe(setting))
		}
		markdown = manual.SettingEntry(setting)
	} else {
		if hint == "" {
			hint = "mkosi help lists the verbs, mkosi help settings the settings"
		}
		return &config.Error{Msg: fmt.Sprintf("there is no verb, setting or option %q", topic), Hint: hint}
	}
	if a.cfg.Options.JSON {
		return &config.Error{Msg: fmt.Sprintf("only settings are described as JSON, and %s is none", topic)}
	}
	return a.styled(ctx, func(w io.Writer, s ui.Style) error {
		return manual.Terminal(w, markdown, s, manual.Width(ui.Width(a.stdout)))
	})
}

// programEntry is the entry of a verb or of an option that is no setting, "" for other words.
func programEntry(topic string) string {
	for _, v := range config.Verbs() {
		if string(v) == topic {
			text := manual.VerbEntry(v)
			if verbs[v] == nil {
				text += "\nThis version refuses it: it is not supported yet.\n"
			}
			return text
		}
	}
	name := strings.TrimLeft(topic, "-")
	for _, o := range config.ProgramOptions() {
		if o.Long == name || topic == "-"+o.Short && o.Short != "" {
			return manual.OptionEntry(o)
		}
	}
	return ""
}

// described is a setting as data.
type described struct {
	Name     string
	Section  string
	Scope    config.Scope
	Option   string   `json:",omitempty"`
	Short    string   `json:",omitempty"`
	Kind     string   // such as "boolean"
	Choices  []string `json:",omitempty"`
	Collects bool     // assignments add up
	Default  string   `json:",omitempty"` // words, in Markdown
	Paths    []string `json:",omitempty"` // files that set it by being there
	Globs    []string `json:",omitempty"`

	Specifier string   `json:",omitempty"`
	OldNames  []string `json:",omitempty"`
	Condition bool     // a condition can test it
	Secret    bool
	Limits    string `json:",omitempty"` // what a build does not honour yet
	Summary   string
	Doc       string // Markdown
}

func describe(s *config.Setting) described {
	d := described{Name: s.Name, Section: s.Section, Scope: s.Scope, Option: s.Long, Short: s.Short, Kind: s.Kind(),
		Choices: s.Choices(), Collects: s.Collects(), Default: s.DefaultText(), Paths: s.Paths, Globs: s.Globs,
		OldNames: s.OldNames, Condition: s.Condition(), Secret: s.Secret, Limits: s.Limits(), Summary: s.Help, Doc: s.Doc()}
	if s.Specifier != 0 {
		d.Specifier = "%" + string(rune(s.Specifier))
	}
	return d
}

func optionLine(short, long, argument string) string {
	line := "    --" + long
	if short != "" {
		line = "-" + short + ", --" + long
	}
	switch {
	case strings.HasPrefix(argument, "["):
		line += argument
	case argument != "":
		line += " " + argument
	}
	return line
}

// helpColumn is where explanations begin.
const helpColumn = 40

// entry writes a name and its explanation, on a line of its own when the name is long.
func entry(w io.Writer, s ui.Style, name, text string) {
	pad := helpColumn - 2 - len(name)
	if pad < 2 {
		fmt.Fprintf(w, "  %s\n%*s%s\n", s.Key(name), helpColumn, "", text)
		return
	}
	fmt.Fprintf(w, "  %s%*s%s\n", s.Key(name), pad, "", text)
}
