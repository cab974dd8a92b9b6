package config

import (
	"path"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// documented returns the headings of the files of a group, with repetitions.
func documented(t *testing.T, group string) []string {
	t.Helper()
	var names []string
	eachDocFile(t, func(file, text string) {
		if docGroup(file) != group {
			return
		}
		for name := range parseDoc(text) {
			names = append(names, name)
		}
	})
	slices.Sort(names)
	return names
}

func eachDocFile(t *testing.T, fn func(file, text string)) {
	t.Helper()
	files, err := docFiles.ReadDir("doc")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := docFiles.ReadFile(path.Join("doc", f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		fn(f.Name(), string(text))
	}
}

func TestEverythingIsDocumentedOnce(t *testing.T) {
	var options []string
	for _, p := range ProgramOptions() {
		options = append(options, p.Long)
	}
	for group, want := range map[string][]string{
		settingDocs: settingNames(""), verbDocs: words(Verbs()), optionDocs: options,
	} {
		slices.Sort(want)
		got := documented(t, group)
		for _, name := range want {
			if !slices.Contains(got, name) {
				t.Errorf("%s: nothing is written about %s", group, name)
			}
		}
		for i, name := range got {
			if !slices.Contains(want, name) {
				t.Errorf("%s: there is no %s to write about", group, name)
			}
			if i > 0 && got[i-1] == name {
				t.Errorf("%s: %s has two entries", group, name)
			}
		}
	}
}

func TestSettingsAreDocumentedInTheFileOfTheirRows(t *testing.T) {
	rows := map[string][]*Setting{
		"config.md": configSettings(), "distribution.md": distributionSettings(), "output.md": outputSettings(),
		"content.md": contentSettings(), "boot.md": bootSettings(), "validation.md": validationSettings(),
		"build.md": buildSettings(), "runtime.md": runtimeSettings(),
	}
	eachDocFile(t, func(file, text string) {
		if docGroup(file) != settingDocs {
			return
		}
		var want, got []string
		for _, s := range rows[file] {
			want = append(want, s.Name)
		}
		for name := range parseDoc(text) {
			got = append(got, name)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: the entries are %v, the rows %v", file, got, want)
		}
	})
}

func TestWordsSaySomething(t *testing.T) {
	for key, entry := range docs() {
		if len(entry.text) < 40 {
			t.Errorf("%s: %q is too short", key.name, entry.text)
		}
		if strings.HasSuffix(entry.help, ".") || (entry.help == "") != (key.group != verbDocs) {
			t.Errorf("%s: the Help line is %q", key.name, entry.help)
		}
		if entry.fallback != "" && key.group != settingDocs {
			t.Errorf("%s: only a setting has a default", key.name)
		}
	}
}

// assignment is a name that is written like a setting: `Name=`, `Name=value`.
var assignment = regexp.MustCompile("`([A-Z][A-Za-z]*)=[^`]*`")

func TestWordsNameOnlySettingsThatExist(t *testing.T) {
	// Of other programs, and what stands for any name.
	foreign := []string{"CopyFiles", "SplitName", "NAME"}
	known := slices.Concat(settingNames(""), Conditions(), foreign)
	eachDocFile(t, func(file, text string) {
		for i, line := range strings.Split(text, "\n") {
			for _, m := range assignment.FindAllStringSubmatch(line, -1) {
				if !slices.Contains(known, m[1]) {
					t.Errorf("%s:%d: there is no setting %s=", file, i+1, m[1])
				}
			}
		}
	})
}

func TestWordsKeepToTheSubsetOfMarkdown(t *testing.T) {
	eachDocFile(t, func(file, text string) {
		if problems := markdownProblems(text); len(problems) > 0 {
			t.Errorf("%s: %s", file, strings.Join(problems, "\n"))
		}
	})
}

func TestMarkdownOutsideTheSubsetIsFound(t *testing.T) {
	for _, text := range []string{
		"## Deep\n", "* star\n", "1. number\n", "> quote\n", "[link](there)\n", "open `code\n", "very **bold**\n",
		"```\nopen\n", "    indented\n", "| a | b |\n", "- list\n    deep\n", "trailing \n", "<b>\n",
	} {
		if len(markdownProblems("# Name\n\n"+text)) == 0 {
			t.Errorf("%q passes as the subset", text)
		}
	}
}

var (
	codeSpan   = regexp.MustCompile("`[^`]+`")
	notInWords = regexp.MustCompile("`|\\*\\*|\\]\\(|^[*+>|]|^\\d+\\. |^#|<[a-z/]")
)

// markdownProblems returns the lines that are not in the subset that Doc
// promises.
func markdownProblems(text string) []string {
	var problems []string
	fenced, list := false, false
	for line := range strings.SplitSeq(text, "\n") {
		if strings.HasPrefix(line, "```") {
			fenced, list = !fenced, false
			continue
		}
		if fenced || strings.HasPrefix(line, "# ") {
			continue
		}
		words := strings.TrimPrefix(line, "- ")
		switch {
		case words != line:
			list = true
		case line == "":
			list = false
		case list:
			words = strings.TrimPrefix(line, "  ")
		}
		words = codeSpan.ReplaceAllString(words, "x")
		if strings.HasPrefix(words, " ") || strings.HasSuffix(words, " ") || notInWords.MatchString(words) {
			problems = append(problems, line)
		}
	}
	if fenced {
		problems = append(problems, "a fence is not closed")
	}
	return problems
}

func TestHeadingsWithinCodeAreNone(t *testing.T) {
	var names []string
	for name, entry := range parseDoc("# A\nDefault: `x`\n\nWords.\n\n```\n# not one\n```\n# B\nHelp: do it\n\nMore.\n") {
		names = append(names, name)
		want := docEntry{fallback: "`x`", text: "Words.\n\n```\n# not one\n```"}
		if name == "B" {
			want = docEntry{help: "do it", text: "More."}
		}
		if entry != want {
			t.Errorf("%s: %+v, want %+v", name, entry, want)
		}
	}
	if !slices.Equal(names, []string{"A", "B"}) {
		t.Errorf("headings: %v", names)
	}
}

func TestComputedDefaultsHaveWords(t *testing.T) {
	for _, s := range Settings() {
		if s.fallback != nil && s.DefaultText() == "" {
			t.Errorf("%s: nothing says what the default is", s.Name)
		}
	}
}

func TestWordsDoNotRepeatTheFixedDefault(t *testing.T) {
	for _, s := range Settings() {
		words := docs()[docKey{settingDocs, s.Name}].fallback
		if s.Default != nil && strings.Trim(words, "`") == s.plainDefault() {
			t.Errorf("%s: the Default line says what the table says", s.Name)
		}
	}
}

func TestFixedDefaultReadsBackAsItself(t *testing.T) {
	for _, s := range Settings() {
		if s.Default == nil || docs()[docKey{settingDocs, s.Name}].fallback != "" {
			continue
		}
		got, err := s.kind.parse(&place{dir: "/", setting: s}, nil, s.DefaultText())
		if err != nil || !reflect.DeepEqual(got, s.Default) {
			t.Errorf("%s: %q reads as %v, %v, want %v", s.Name, s.DefaultText(), got, err, s.Default)
		}
	}
}

func TestDefaultTextIsWhatOneWouldWrite(t *testing.T) {
	for name, want := range map[string]string{
		"Format": "disk", "WithDocs": "yes", "WithRecommends": "no", "Bootable": "auto", "SplitArtifacts": "uki,kernel,initrd",
		"RAM": "2G", "VSockCID": "auto", "CompressLevel": "3", "Packages": "",
	} {
		if got := Lookup(name).DefaultText(); got != want {
			t.Errorf("%s: default %q, want %q", name, got, want)
		}
	}
}
