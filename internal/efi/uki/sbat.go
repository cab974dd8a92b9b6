package uki

import (
	"errors"
	"strings"
)

// Lines of the .sbat section, of shim's format for revocation.
const (
	sbatHeader   = "sbat,1,SBAT Version,sbat,1,https://github.com/rhboot/shim/blob/main/SBAT.md"
	defaultImage = "uki,1,UKI,uki,1,https://uapi-group.org/specifications/specs/unified_kernel_image/"
	defaultAddon = "uki-addon,1,UKI Addon,addon,1,https://www.freedesktop.org/software/systemd/man/latest/systemd-stub.html"
)

var errSBAT = errors.New(`components for revocation do not begin with a line "sbat,..."`)

// mergeSBAT joins the components of several sections. One that is not in the
// format is left out, as it means nothing to shim either.
func mergeSBAT(texts ...string) string {
	lines := []string{sbatHeader}
	for _, text := range texts {
		components, err := parseSBAT(text)
		if err != nil {
			continue
		}
		lines = append(lines, components...)
	}
	return strings.Join(lines, "\n") + "\n"
}

// parseSBAT returns the lines of a section after the first, which is about the
// format.
func parseSBAT(text string) ([]string, error) {
	text = strings.TrimSpace(strings.Trim(text, "\x00"))
	if !strings.HasPrefix(text, "sbat,") {
		return nil, errSBAT
	}
	_, text, more := strings.Cut(text, "\n")
	if !more {
		return nil, nil
	}
	return strings.Split(text, "\n"), nil
}
