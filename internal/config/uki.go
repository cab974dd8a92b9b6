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
		if err := p.set(e); err != nil {
			return p, err
		}
	}
	return p, nil
}

// set makes one assignment. An empty one goes back to what was there first.
func (p *UKIProfile) set(e ini.Entry) error {
	var err error
	switch {
	case e.Key == "Profile" && e.Value == "":
		p.Profile = map[string]string{}
	case e.Key == "Profile":
		for line := range strings.SplitSeq(e.Value, "\n") {
			key, value, _ := strings.Cut(line, "=")
			p.Profile[strings.TrimSpace(key)] = strings.TrimSpace(value)
		}
	case e.Key == "Cmdline" && e.Value == "":
		p.Cmdline = nil
	case e.Key == "Cmdline":
		p.Cmdline = append(p.Cmdline, strings.Fields(e.Value)...)
	case e.Key == "SignExpectedPcr" && e.Value == "":
		p.SignExpectedPcr = true
	case e.Key == "SignExpectedPcr":
		if p.SignExpectedPcr, err = parseBool(e.Value); err != nil {
			return &ini.Error{Line: e.Line, Msg: err.Error()}
		}
	case !strings.HasPrefix(e.Key, "X-"):
		return &ini.Error{Line: e.Line, Msg: fmt.Sprintf("unknown setting %q in [UKIProfile]", e.Key)}
	}
	return nil
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
