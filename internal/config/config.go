// Package config reads the configuration language of mkosi: configuration
// files and command line in, complete images out.
//
// Everything is driven by one table of settings. Loading reads files and
// returns data: it builds nothing, runs nothing and asks nothing of the
// machine that is not in [host.Facts].
package config

import (
	"fmt"
	"io"

	"github.com/mkosi-go/mkosi/internal/host"
)

// Version is the version of the configuration language, which
// MinimumVersion= is compared with.
const Version = "27.1"

// Config is a loaded configuration.
type Config struct {
	// Dir is the absolute path of the directory of the configuration, which
	// may be the subdirectory "mkosi" of the one that was asked for. Outputs
	// are put there unless OutputDirectory= is set.
	Dir string
	// Images holds the images to build, each after those that it depends
	// on, the main image last.
	Images []*Image
	// Tools is the tree to take tools from when it is to be built, or nil.
	Tools *Image
	// Options are the options of the program rather than of an image.
	Options Options
	// Verb is what to do.
	Verb Verb
	// VerbArgs holds the arguments of the verb.
	VerbArgs []string
	// Sources are the configuration files and directories that reading came
	// to, in the order in which their assignments were made.
	Sources []*Source
	// Warnings are complaints about a configuration that still works, such
	// as a setting under its old name.
	Warnings []*Error

	reader *loader
}

// Main returns the main image.
func (c *Config) Main() *Image { return c.Images[len(c.Images)-1] }

// Image returns the image of that name, or nil.
func (c *Config) Image(name string) *Image {
	for _, img := range c.Images {
		if img.Image == name {
			return img
		}
	}
	return nil
}

// LoadOptions says what to load.
type LoadOptions struct {
	// Args is the command line without the program's name.
	Args []string
	// CommandLine is what [ParseArgs] made of Args, for callers that have
	// called it already; nil lets Load do it.
	CommandLine *CommandLine
	// Dir is the directory that the program was started in, absolute.
	// Option -C is relative to it.
	Dir string
	// Host is the machine to assume.
	Host host.Facts
	// Rand is the source of a random Seed; nil is the system's.
	Rand io.Reader
	// Run runs a program that prints the value of a setting, as an
	// executable mkosi.version does. If it is nil, such a program is an error.
	Run Runner
}

// Origin is one assignment to a setting.
type Origin struct {
	Kind  OriginKind
	File  string // configuration or default file
	Line  int    // counted from 1; 0 when there is none
	Value string // the text that was assigned; hidden for a secret
	From  string // image that the value was passed down from, if any
}

// OriginKind says what kind of place a value comes from.
type OriginKind string

// The places that a value can come from.
const (
	FromFile        OriginKind = "file"         // an assignment in a configuration file
	FromOption      OriginKind = "option"       // the command line
	FromDefaultFile OriginKind = "default file" // a file such as mkosi.version
	FromProgram     OriginKind = "mkosi"        // mkosi itself, for an image that it adds
	FromHistory     OriginKind = "history"      // the command line of the last build, see HistoryPath
	FromScript      OriginKind = "script"       // a configure script
)

func (o Origin) String() string {
	s := string(o.Kind)
	switch o.Kind {
	case FromFile:
		s = fmt.Sprintf("%s:%d", o.File, o.Line)
	case FromDefaultFile, FromHistory, FromScript:
		s = o.File
	case FromOption:
		s = "command line"
	}
	if o.From != "" {
		s += ", image " + o.From
	}
	return s
}
