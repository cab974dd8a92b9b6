package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/mkosi-go/mkosi/internal/ini"
)

// ukiProfiles reads the files that describe profiles of unified kernel images.
var ukiProfiles = list("list of profile files", splitCommas, one(func(c *place, text string) (UKIProfile, error) {
	path, err := pathRule{required: true}.check(c, text)
	if err != nil {
		return UKIProfile{}, err
	}
	data, err := readFile(path, ini.MaxSize)
	if err != nil && c.unread {
		return UKIProfile{}, nil
	}
	if err != nil {
		return UKIProfile{}, fmt.Errorf("reading %s: %s", path, rootCause(err))
	}
	p, err := parseUKIProfile(data)
	if err != nil {
		return UKIProfile{}, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}))

// parseUKIProfile reads a file with a [UKIProfile] section.
func parseUKIProfile(data []byte) (UKIProfile, error) {
	p := UKIProfile{Profile: map[string]string{}, SignExpectedPcr: true}
	entries, err := ini.Parse(data)
	var syntax *ini.Error
	if errors.As(err, &syntax) {
		return p, syntax
	}
	for _, e := range entries {
		if e.Section != "UKIProfile" || e.Key == "" {
			continue
		}
		switch e.Key {
		case "Profile":
			for line := range strings.SplitSeq(e.Value, "\n") {
				key, value, ok := strings.Cut(line, "=")
				if !ok {
					return p, &ini.Error{Line: e.Line, Msg: fmt.Sprintf("%q is not of the form NAME=VALUE", line)}
				}
				p.Profile[key] = value
			}
		case "Cmdline":
			p.Cmdline = append(p.Cmdline, strings.Fields(e.Value)...)
		case "SignExpectedPcr":
			if p.SignExpectedPcr, err = parseBool(e.Value); err != nil {
				return p, &ini.Error{Line: e.Line, Msg: err.Error()}
			}
		default:
			return p, &ini.Error{Line: e.Line, Msg: fmt.Sprintf("unknown setting %q in [UKIProfile]", e.Key)}
		}
	}
	return p, nil
}

// toolsTree is a path, or "default" for one that is built; no is no tree.
var toolsTree = &kind{
	name:    "path, default, yes or no",
	choices: []string{"default", "yes", "no"},
	parse: func(c *place, _ any, text string) (any, error) {
		switch text {
		case "default", "yes":
			return "default", nil
		case "no":
			return "", nil
		}
		path, err := pathRule{required: true, directory: true}.check(c, text)
		if _, no := parseBool(text); err != nil && no == nil {
			return "", &choiceError{text: text, choices: []string{"default", "yes", "no"}}
		}
		return path, err
	},
}
