// Package mkosi holds what lies at the top of the source tree and is part of the program: what changed from version to
// version.
package mkosi

import _ "embed"

//go:embed CHANGELOG.md
var changelog string

// Changelog returns what changed from version to version, in Markdown, the newest first.
func Changelog() string { return changelog }
