// Package builtin holds the configurations that Include= finds under a name
// that begins with "mkosi-": a directory each, laid out as a user's own.
package builtin

import "embed"

// FS has the built-in configurations at its top. Embedded files have no
// modes: a script is known by its name.
//
//go:embed all:mkosi-*
var FS embed.FS
