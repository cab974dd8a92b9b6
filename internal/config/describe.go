package config

import (
	"fmt"
	"path/filepath"
	"slices"
)

// Condition reports whether a condition can test the setting.
func (s *Setting) Condition() bool { return s.matches != nil }

// Limits says in a clause what of the setting a build does not honour yet,
// "" if it honours everything.
func (s *Setting) Limits() string {
	switch b := s.built; {
	case b.all || s.into != "":
		return ""
	case b.native:
		return "only that of this machine is supported so far"
	case len(b.values) == 1:
		return fmt.Sprintf("only %s is supported so far", b.written())
	case len(b.values) > 0:
		return fmt.Sprintf("only %s are supported so far", b.written())
	}
	return "it is read and checked, and not supported by a build yet"
}

// BuiltinConfigs returns the names of the configurations in the program.
func BuiltinConfigs() []string { return slices.Clone(builtinConfigs) }

// Names returns what there is to choose from in mkosi.profiles or
// mkosi.images of a configuration directory. What cannot be read has none.
func Names(dir, folder string) []string {
	var names []string
	for _, n := range namedIn(filepath.Join(configDirectory(dir), folder)) {
		names = append(names, n.name)
	}
	return names
}
