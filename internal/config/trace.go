package config

import "strings"

// Source is a configuration file, or a directory without one, that reading
// came to.
type Source struct {
	Path  string // of the file, or of the directory if there is no file in it
	Image string // for which it was read
	Role  Role
	// Name is that of the profile, the image or the built-in configuration.
	Name string
	// Include is the assignment that asked for it, if one did.
	Include *Origin
	// Depth counts the sources around it: a file of mkosi.conf.d lies in one.
	Depth int
	// Skipped is what kept it out, nil if it was taken. A directory is kept
	// out whole.
	Skipped *Condition
	// Settings counts the assignments in it; in one that was skipped, only
	// those of its first file.
	Settings int

	root        string // as parse takes it: a file, or a directory
	dir         string // where relative paths in a file start
	conditional bool   // it has conditions
}

// BuiltIn reports whether the file is within the program.
func (s *Source) BuiltIn() bool { return isBuiltIn(s.Path) }

// Role says why a configuration file is read.
type Role string

// The roles of a configuration file.
const (
	RoleMain    Role = "main"    // of the directory of the configuration
	RoleLocal   Role = "local"   // mkosi.local.conf or mkosi.local/
	RoleDropIn  Role = "drop-in" // in a mkosi.conf.d
	RoleProfile Role = "profile" // in mkosi.profiles
	RoleInclude Role = "include" // named by Include=
	RoleImage   Role = "image"   // in mkosi.images
	RoleTools   Role = "tools"   // mkosi.tools.conf, or built in
	RoleInitrd  Role = "initrd"  // mkosi.initrd.conf, or built in
)

// Condition is a condition that does not hold.
type Condition struct {
	Section string // such as "Match"; "" if it is not written in the file
	Line    int    // counted from 1; 0 without Section
	Text    string // such as "Distribution=fedora", or several, separated by " or "
	// Actual is what the condition was compared with, such as "debian"; ""
	// if that was nothing.
	Actual string
}

// String returns a clause such as "Distribution=fedora does not hold, it is debian".
func (c *Condition) String() string {
	switch {
	case c.Section == "":
		return c.Text
	case c.Actual == "":
		return c.Text + " does not hold"
	}
	return c.Text + " does not hold, it is " + c.Actual
}

// visit says why parse is called.
type visit struct {
	role    Role
	name    string
	include *Origin
}

// enter adds a source around those that are read until the function that it
// returns is called.
func (r *resolver) enter() (leave func()) {
	r.sourceDepth++
	return func() { r.sourceDepth-- }
}

// source makes the record of a file, which root stands for.
func (r *resolver) source(v visit, f *configFile, root string) *Source {
	return &Source{Path: f.path, Image: r.name, Role: v.role, Name: v.name, Include: v.include,
		Depth: r.sourceDepth, Settings: f.assignments(), root: root, dir: f.dir, conditional: len(f.groups) > 0}
}

// passOver records a file or a directory that is not read at all.
func (r *resolver) passOver(root, dir string, v visit, why string) {
	s := r.source(v, &configFile{path: root, dir: dir}, root)
	s.Skipped = &Condition{Text: why}
	r.log.sources = append(r.log.sources, s)
}

// assignments counts them.
func (f *configFile) assignments() int {
	n := 0
	for _, e := range f.entries {
		if e.Key != "" && !strings.HasPrefix(e.Section, "X-") {
			n++
		}
	}
	return n
}

// Assignment is one assignment to a setting, and what became of it.
type Assignment struct {
	Origin
	Effect Effect

	layer int // 0 for files, 1 for local files, 2 for the command line
}

// Effect says what became of an assignment.
type Effect string

// The effects of an assignment.
const (
	Sets       Effect = "sets"       // it is the value
	Adds       Effect = "adds"       // its words are part of the value
	Clears     Effect = "clears"     // it is empty, and nothing before it counts
	Overridden Effect = "overridden" // a later one, or one of a higher layer, counts instead
	Cleared    Effect = "cleared"    // a later one is empty
)

// judge says of all assignments to a setting, lowest layer first, what became
// of them, by the rules of resolver.assigned.
func judge(s *Setting, all []Assignment) {
	var cleared [3]bool // layers with an empty assignment further down
	for i := len(all) - 1; i >= 0; i-- {
		a := &all[i]
		a.Effect = Adds
		switch {
		case !s.Collects() && i < len(all)-1:
			a.Effect = Overridden
		case a.Value == "":
			a.Effect = Clears
		case !s.Collects():
			a.Effect = Sets
		}
		// Only the command line clears the layers below it.
		if s.Collects() && (cleared[a.layer] || cleared[2]) {
			a.Effect = Cleared
		}
		cleared[a.layer] = cleared[a.layer] || a.Effect == Clears
	}
}
