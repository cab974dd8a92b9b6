// Package manual is the documentation of the program: chapters of prose that are its own files, and entries that come
// from the settings table. A page is put together as Markdown, in a small subset of it; all other forms are rendered
// from that.
package manual

import (
	"embed"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/mkosi-go/mkosi"
)

//go:embed text/*.md
var texts embed.FS

// Page is a page of the manual.
type Page struct {
	Name     string // such as "mkosi"
	Section  int    // of the manual pages of the system, 1 for programs
	Summary  string // a clause
	Markdown string // starts below the line with name and summary
}

// File returns the name of the page in roff, such as "mkosi.1".
func (p *Page) File() string { return fmt.Sprintf("%s.%d", p.Name, p.Section) }

// Names returns the names of all pages, that of the program first.
func Names() []string { return []string{"mkosi", "mkosi-sandbox", "mkosi.news"} }

// Load returns the page of that name, nil if there is none. The part that follows "mkosi" is a name as well.
func Load(name string) *Page {
	if !slices.Contains(Names(), name) {
		for _, full := range Names()[1:] {
			if name == full[len("mkosi")+1:] {
				name = full
			}
		}
	}
	switch name {
	case "mkosi":
		return &Page{Name: name, Section: 1, Summary: "build operating system images", Markdown: chapters()}
	case "mkosi-sandbox":
		return &Page{Name: name, Section: 1, Summary: "run a command in a sandbox", Markdown: text("sandbox")}
	case "mkosi.news":
		_, news, _ := strings.Cut(mkosi.Changelog(), "\n")
		// A page begins with chapters, and so do the versions.
		return &Page{Name: name, Section: 7, Summary: "what changed in mkosi", Markdown: strings.ReplaceAll(news, "\n## ", "\n# ")}
	}
	return nil
}

// text returns a file of the manual.
func text(name string) string {
	data, err := texts.ReadFile(path.Join("text", name+".md"))
	if err != nil {
		panic(err) // it is in the program
	}
	return string(data)
}

// chapters is the page of the program.
func chapters() string {
	return strings.Join([]string{
		text("synopsis"), "# Verbs\n", verbEntries(), "# Options\n", text("options"), optionEntries(),
		text("configuration"), text("conditions"), text("specifiers"), specifierEntries(), text("delayed"),
		text("images"), text("settings"), settingEntries(), text("scripts"), text("outputs"), text("machines"), text("testing"), text("environment"), text("closing"),
	}, "\n")
}
