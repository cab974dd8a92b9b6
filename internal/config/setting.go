package config

import (
	"cmp"
	"reflect"
	"slices"
)

// Scope says which images a setting belongs to and who may set it.
type Scope string

// The scopes.
const (
	// Local settings belong to one image.
	Local Scope = "local"
	// Universal settings are set in the main image and hold in all images.
	Universal Scope = "universal"
	// Multiversal settings are universal and hold in the built-in tools
	// tree too.
	Multiversal Scope = "multiversal"
	// Inherit settings are passed down to subimages, which may change them.
	Inherit Scope = "inherit"
	// MainOnly settings are set in the main image and hold in it alone.
	MainOnly Scope = "main"
	// ToolsOnly settings are set in the main image for the tools tree.
	ToolsOnly Scope = "tools"
	// InitrdOnly settings are set in the main image for the default initrd.
	InitrdOnly Scope = "initrd"
	// InitrdInherit settings are local and passed to the default initrd.
	InitrdInherit Scope = "initrd-inherit"
)

// Setting is a row of the settings table: everything there is to know about
// a setting.
type Setting struct {
	Name    string // in configuration files; also the field of [Image]
	Section string // without brackets
	Scope   Scope
	Long    string // long option without dashes
	Short   string // one letter without dash, or ""
	Help    string // one sentence, no full stop

	OldNames []string // in configuration files
	OldLong  []string // long options without dashes

	// NoValue is the value of the option without an argument: of the short
	// option always, of the long one only if OptionalValue.
	NoValue       string
	OptionalValue bool

	// Paths are files beside mkosi.conf that set the setting by being there.
	Paths []string
	// Globs are patterns of such files.
	Globs []string
	// ReadsPath takes the content of the path as the value.
	ReadsPath bool

	// Secret values are not shown.
	Secret bool
	// Specifier is the letter that stands for the value after a percent
	// sign, or 0.
	Specifier byte
	// ForTools passes the value on to the default tools tree as well.
	ForTools bool

	// Default is the value when nothing is assigned, of the type of the
	// field in [Image]; nil for none, or when it depends on other settings.
	Default any

	kind *kind
	// fallback computes a default that depends on other settings.
	fallback func(r *resolver) any
	// into names the setting that the values go to, for settings that are
	// only another way to write it.
	into string
	// matches tells whether a condition on the setting is met, nil for
	// settings without conditions.
	matches matcher
	// keepsEmpty shows an empty text as such in JSON, not as null.
	keepsEmpty bool
	// nullList shows a list that was never set as null.
	nullList bool
	// hidden settings are not part of the JSON summary.
	hidden bool
	// field is the index of the field in Image.
	field int
	// built says how much of the setting a build honours.
	built support
}

// Kind names what values the setting takes, such as "boolean".
func (s *Setting) Kind() string { return s.kind.name }

// Choices returns the words that the setting chooses from, or nil.
func (s *Setting) Choices() []string { return slices.Clone(s.kind.choices) }

// Collects reports whether assignments add up. The empty assignment then
// clears what was assigned before.
func (s *Setting) Collects() bool { return s.kind.collects() }

// Sections returns the sections of settings in their order.
func Sections() []string {
	return []string{"Include", "Config", "Distribution", "Output", "Content", "Validation", "Build", "Runtime"}
}

// table holds all settings in the order of their sections.
var table []*Setting

// byName finds a setting by its name or an old one.
var byName = map[string]*Setting{}

// The rows refer to functions that look up other rows, so they cannot be
// the initial value of the variable.
func init() {
	table = slices.Concat(configSettings(), distributionSettings(), outputSettings(), contentSettings(),
		bootSettings(), validationSettings(), buildSettings(), runtimeSettings())
	image := reflect.TypeFor[Image]()
	for _, s := range table {
		field, _ := image.FieldByName(cmp.Or(s.into, s.Name))
		s.field = field.Index[0]
		byName[s.Name] = s
		for _, old := range s.OldNames {
			byName[old] = s
		}
	}
}

// Settings returns the settings table. The rows are shared: do not change them.
func Settings() []*Setting { return table }

// Lookup returns the setting of that name, old names included, or nil.
func Lookup(name string) *Setting { return byName[name] }

// settingNames returns the names of all settings of a section, or of all
// sections for "".
func settingNames(section string) []string {
	var names []string
	for _, s := range table {
		if section == "" || s.Section == section {
			names = append(names, s.Name)
		}
	}
	return names
}
