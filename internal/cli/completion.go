package cli

import (
	"context"
	"embed"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/template"

	"github.com/mkosi-go/mkosi/internal/config"
)

//go:embed completion/*
var completionScripts embed.FS

// shells are those that completion works in.
func shells() []string { return []string{"bash", "fish", "zsh"} }

// completion prints a script that teaches a shell the command line. The script asks back for what only the
// configuration knows, with the words profiles and images in place of a shell.
func (a *app) completion(context.Context) error {
	if len(a.cfg.VerbArgs) != 1 {
		return &config.Error{Msg: "completion takes the name of a shell", Hint: "name a shell: mkosi completion bash, fish or zsh"}
	}
	switch shell := a.cfg.VerbArgs[0]; shell {
	case "profiles", "images":
		return printLines(a.stdout, config.Names(a.cfg.Dir, "mkosi."+shell))
	case "bash", "fish", "zsh":
		t, err := template.New(shell).Funcs(template.FuncMap{"zsh": zshQuote, "quote": shellQuote, "fish": fishQuote, "join": strings.Join}).
			ParseFS(completionScripts, "completion/"+shell)
		if err != nil {
			return err
		}
		return t.ExecuteTemplate(a.stdout, shell, completionWords())
	default:
		return &config.Error{Msg: fmt.Sprintf("completion for %q is not supported", shell), Hint: "name a shell: mkosi completion bash, fish or zsh"}
	}
}

func printLines(w io.Writer, lines []string) error {
	for _, line := range lines {
		if strings.ContainsAny(line, "\n\r") {
			continue // no shell could tell it from two
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}

// completed is everything that the scripts know.
type completed struct {
	Verbs   []completedVerb
	Options []completedOption
}

// completedVerb is a verb with the words that can follow it.
type completedVerb struct {
	Name, Help string
	Words      []string
	Files      bool
}

// completedOption is an option and what can be its value.
type completedOption struct {
	Long, Short, Help string
	// Value says that the option has a value; it is Optional if it can only follow an equals sign.
	Value, Optional bool
	// ShortAlone is a short option without a value.
	ShortAlone bool
	Words      []string
	// Source is where values come from: "profiles", "images", "files", "directories", or "" for Words, if any.
	Source string
}

// Names returns the option as it can be typed before a value in a word of its own.
func (o completedOption) Names() []string {
	names := []string{"--" + o.Long}
	if o.Short != "" && !o.ShortAlone {
		names = append(names, "-"+o.Short)
	}
	return names
}

// All returns the option in all forms.
func (o completedOption) All() []string {
	if o.ShortAlone {
		return append(o.Names(), "-"+o.Short)
	}
	return o.Names()
}

func completionWords() completed {
	var c completed
	for _, v := range config.Verbs() {
		if verbs[v] == nil {
			continue
		}
		c.Verbs = append(c.Verbs, completedVerb{Name: string(v), Help: v.Help(), Words: verbWords(v), Files: v == config.VerbBuild || v == config.VerbSign || looks(v)})
	}
	for _, o := range config.ProgramOptions() {
		option := completedOption{Long: o.Long, Short: o.Short, Help: o.Help, Value: o.Argument != "", Optional: o.ArgumentOptional()}
		switch o.Long {
		case "certificate", "debug-timing":
			option.Source = "files"
		case "directory":
			option.Source = "directories"
		case "ignore":
			option.Words = config.DiffIgnores()
		case "doc-format":
			option.Words = []string{"auto", "man", "markdown", "pandoc", "system"}
		}
		c.Options = append(c.Options, option)
	}
	for _, s := range config.Settings() {
		if s.Long != "" {
			c.Options = append(c.Options, settingCompletion(s))
		}
	}
	return c
}

// looks reports whether a verb looks into images, which it is given by name.
func looks(v config.Verb) bool {
	return v == config.VerbInspect || v == config.VerbVerify || v == config.VerbDiff
}

// verbWords returns the words that can follow a verb.
func verbWords(v config.Verb) []string {
	var names []string
	for _, s := range config.Settings() {
		names = append(names, s.Name)
	}
	switch v {
	case config.VerbCompletion:
		return shells()
	case config.VerbDocumentation:
		return documentationTopics()
	case config.VerbExplain:
		return names
	case config.VerbHelp:
		words := []string{"options", "settings"}
		for _, v := range config.Verbs() {
			words = append(words, string(v))
		}
		return append(words, names...)
	}
	return nil
}

func settingCompletion(s *config.Setting) completedOption {
	o := completedOption{Long: s.Long, Short: s.Short, Help: s.Help, Value: true, Optional: s.OptionalValue,
		ShortAlone: s.NoValue != "" && s.Short != ""}
	o.Words = slices.DeleteFunc(s.Choices(), func(c string) bool { return c == "" })
	switch {
	case s.Name == "Profiles":
		o.Source = "profiles"
	case s.Name == "Dependencies":
		o.Source = "images"
	case len(o.Words) == 0:
		o.Words, o.Source = kindCompletion(s.Kind())
	}
	if s.Name == "Include" {
		o.Words, o.Source = config.BuiltinConfigs(), "files"
	}
	return o
}

// kindCompletion returns what values of a kind look like.
func kindCompletion(kind string) (words []string, source string) {
	switch kind {
	case "boolean":
		return []string{"yes", "no"}, ""
	case "feature":
		return []string{"yes", "no", "auto"}, ""
	case "compression":
		return []string{"none", "zstd", "xz", "bz2", "gz", "lz4", "lzma"}, ""
	case "list of formats":
		return []string{"json", "changelog"}, ""
	case "path", "list of paths", "list of files", "list of SOURCE:TARGET", "list of profile files", "key or certificate":
		return nil, "files"
	}
	return nil, ""
}

// shellQuote writes a word for a POSIX shell.
func shellQuote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// fishQuote writes a word for fish, whose quotations know backslashes.
func fishQuote(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(text) + "'"
}

// zshQuote writes text for a specification of _arguments, within a quoted word.
func zshQuote(text string) string {
	return strings.NewReplacer(`\`, `\\`, "'", `'\''`, "[", `\[`, "]", `\]`, ":", `\:`).Replace(text)
}
