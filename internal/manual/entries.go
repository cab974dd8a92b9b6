package manual

import (
	"fmt"
	"strings"

	"github.com/mkosi-go/mkosi/internal/config"
)

// VerbEntry returns all about a verb, in Markdown.
func VerbEntry(v config.Verb) string {
	return entry(string(v), v.Doc())
}

// OptionEntry returns all about an option of the program, in Markdown.
func OptionEntry(o config.ProgramOption) string {
	return entry(optionNames(o.Short, o.Long, o.Argument), o.Doc())
}

// SettingEntry returns all about a setting, in Markdown.
func SettingEntry(s *config.Setting) string {
	title := s.Name + "="
	if s.Long != "" {
		title += ", " + optionNames(s.Short, s.Long, s.Argument())
	}
	return entry(title, s.Doc(), facts(s))
}

func entry(title string, paragraphs ...string) string {
	return "### " + title + "\n\n" + strings.Join(paragraphs, "\n\n") + "\n"
}

// optionNames writes an option as it is typed.
func optionNames(short, long, argument string) string {
	name := "--" + long
	switch {
	case strings.HasPrefix(argument, "["):
		name += argument
	case argument != "":
		name += " " + argument
	}
	if short != "" {
		name = "-" + short + ", " + name
	}
	return name
}

// facts lists what the settings table knows about a setting.
func facts(s *config.Setting) string {
	var list strings.Builder
	add := func(name, text string) {
		if text != "" {
			fmt.Fprintf(&list, "- *%s*: %s\n", name, text)
		}
	}
	kind := s.Kind()
	if s.Collects() {
		kind += "; assignments add up, an empty one clears"
	}
	add("Kind", kind)
	add("Choices", strings.Join(code(s.Choices()), ", "))
	add("Default", s.DefaultText())
	add("Without a value", strings.Join(code([]string{s.NoValue}), ""))
	add("Section", "`["+s.Section+"]`")
	add("Scope", scope(s))
	if s.ReadsPath {
		add("Content read from", strings.Join(code(append(s.Paths, s.Globs...)), ", "))
	} else {
		add("Set by being there", strings.Join(code(append(s.Paths, s.Globs...)), ", "))
	}
	if s.Specifier != 0 {
		add("Specifier", fmt.Sprintf("`%%%c`", s.Specifier))
	}
	if s.Condition() {
		add("Condition", "yes")
	}
	if s.Secret {
		add("Secret", "its value is not shown")
	}
	add("Old names", strings.Join(append(code(suffixed(s.OldNames, "=")), code(prefixed("--", s.OldLong))...), ", "))
	add("Limits", s.Limits())
	return list.String()
}

func scope(s *config.Setting) string {
	switch s.Scope {
	case config.Local:
		return "each image has its own"
	case config.Universal:
		return "set in the main image, for all images"
	case config.Multiversal:
		return "set in the main image, for all images and the default tools tree"
	case config.Inherit:
		return "passed down to subimages, which may change it"
	case config.MainOnly:
		return "set in the main image, for it alone"
	case config.ToolsOnly:
		return "set in the main image, for the default tools tree"
	case config.InitrdOnly:
		return "set in the main image, for the default initrd"
	case config.InitrdInherit:
		return "each image has its own; the default initrd has that of the main image"
	}
	return string(s.Scope)
}

func code(words []string) []string {
	var list []string
	for _, w := range words {
		if w != "" {
			list = append(list, "`"+w+"`")
		}
	}
	return list
}

func suffixed(words []string, suffix string) []string {
	var list []string
	for _, w := range words {
		list = append(list, w+suffix)
	}
	return list
}

func prefixed(prefix string, words []string) []string {
	var list []string
	for _, w := range words {
		list = append(list, prefix+w)
	}
	return list
}

func verbEntries() string {
	var b strings.Builder
	for _, v := range config.Verbs() {
		b.WriteString(VerbEntry(v) + "\n")
	}
	return b.String()
}

func optionEntries() string {
	var b strings.Builder
	for _, o := range config.ProgramOptions() {
		b.WriteString(OptionEntry(o) + "\n")
	}
	return b.String()
}

func settingEntries() string {
	var b strings.Builder
	for _, section := range config.Sections() {
		fmt.Fprintf(&b, "## Section [%s]\n\n", section)
		for _, s := range config.Settings() {
			if s.Section == section {
				b.WriteString(SettingEntry(s) + "\n")
			}
		}
	}
	return b.String()
}

// specifierEntries lists the specifiers that stand for a setting.
func specifierEntries() string {
	var b strings.Builder
	for _, s := range config.Settings() {
		if s.Specifier != 0 {
			fmt.Fprintf(&b, "- `%%%c` the value of `%s=`\n", s.Specifier, s.Name)
		}
	}
	return b.String()
}
