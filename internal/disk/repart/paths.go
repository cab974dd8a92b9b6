package repart

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Limits of Linux on paths and names, in bytes.
const (
	maxPath = 4095
	maxName = 255
)

// parsePath returns an absolute path without "." and "..", and without a slash
// at its end.
func parsePath(s string) (string, error) {
	if !path.IsAbs(s) || strings.ContainsRune(s, 0) {
		return "", fmt.Errorf("%q is not an absolute path", s)
	}
	names := strings.Split(s, "/")
	if slices.Contains(names, "..") {
		return "", fmt.Errorf("%q leads out of the tree (write a path without ..)", s)
	}
	if len(s) > maxPath || slices.ContainsFunc(names, func(n string) bool { return len(n) > maxName }) {
		return "", fmt.Errorf("the path %.40q is too long", s)
	}
	return path.Clean(s), nil
}

// parseOptionalPath reads a path, or nothing.
func parseOptionalPath(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	return parsePath(s)
}

// parseCopyBlocks reads CopyBlocks=.
func parseCopyBlocks(s string) (string, error) {
	if s == CopyBlocksAuto {
		return s, nil
	}
	return parseOptionalPath(s)
}

// errNotEmptied is for lists that systemd-repart(8) does not empty either.
var errNotEmptied = fmt.Errorf("the value is missing (what other lines add cannot be taken back)")

// appendCopyFiles reads CopyFiles=: SOURCE[:TARGET[:OPTIONS]].
func appendCopyFiles(list []CopyFiles, value string, o *Options) ([]CopyFiles, error) {
	if value == "" {
		return nil, errNotEmptied
	}
	fields, err := splitColons(value, false)
	if err != nil {
		return nil, err
	}
	if len(fields) > 3 {
		return nil, fmt.Errorf(`%q has more than source, target and options (write \x3a for a colon within a path)`, value)
	}
	c := CopyFiles{}
	for i, p := range []*string{&c.Source, &c.Target} {
		if i == len(fields) {
			c.Target = c.Source
			break
		}
		if fields[i] == "" {
			return nil, fmt.Errorf("a path is missing in %q (leave out the colon to copy to the same place)", value)
		}
		expanded, err := o.expand(fields[i])
		if err != nil {
			return nil, err
		}
		if *p, err = parsePath(expanded); err != nil {
			if strings.ContainsAny(expanded[:1], `"'`) {
				return nil, fmt.Errorf("%w (quotes mean nothing here, blanks may stand in a path)", err)
			}
			return nil, err
		}
	}
	if len(fields) == 3 && fields[2] != "" {
		for _, option := range strings.Split(fields[2], ",") {
			switch option {
			case "fsverity=off":
			case "fsverity=copy":
				return nil, fmt.Errorf("option fsverity=copy is not supported yet: files in an image have no fs-verity (leave it out)")
			default:
				return nil, fmt.Errorf("option %q is none of fsverity=off, fsverity=copy", option)
			}
		}
	}
	return append(list, c), nil
}

// words splits a list and replaces the specifiers in its words.
func (o *Options) words(value string) ([]string, error) {
	words, err := splitWords(value)
	for i := range words {
		if err == nil {
			words[i], err = o.expand(words[i])
		}
	}
	return words, err
}

// appendWords adds what parse makes of each word of a list.
func appendWords[T any](list []T, value string, o *Options, parse func(word string) (T, error)) ([]T, error) {
	words, err := o.words(value)
	if err != nil {
		return nil, err
	}
	for _, word := range words {
		v, err := parse(word)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}

// appendExcludes reads ExcludeFiles= and ExcludeFilesTarget=: paths that keep a
// slash at their end. An empty value takes back what the list held.
func appendExcludes(list []string, value string, o *Options) ([]string, error) {
	if value == "" {
		return nil, nil
	}
	return appendWords(list, value, o, func(word string) (string, error) {
		p, err := parsePath(word)
		if err == nil && strings.HasSuffix(word, "/") && p != "/" {
			p += "/"
		}
		return p, err
	})
}

// appendDirectories reads MakeDirectories=.
func appendDirectories(list []string, value string, o *Options) ([]string, error) {
	if value == "" {
		return nil, errNotEmptied
	}
	return appendWords(list, value, o, parsePath)
}

// appendSymlinks reads MakeSymlinks=: PATH:TARGET, the second any text.
func appendSymlinks(list []Symlink, value string, o *Options) ([]Symlink, error) {
	if value == "" {
		return nil, errNotEmptied
	}
	words, err := o.words(value)
	if err != nil {
		return nil, err
	}
	for _, word := range words {
		link, target, _ := strings.Cut(word, ":")
		if target == "" || strings.Contains(target, ":") {
			return nil, fmt.Errorf("%q is not a path and a target with one colon in between", word)
		}
		p, err := parsePath(link)
		if err != nil {
			return nil, err
		}
		if p == "/" {
			return nil, fmt.Errorf("the root directory cannot be a symbolic link")
		}
		if len(target) > maxPath {
			return nil, fmt.Errorf("the target of %s is too long", p)
		}
		list = append(list, Symlink{p, target})
	}
	return list, nil
}

// appendSubvolumes reads Subvolumes=: PATH[:FLAG,...]. What is said of a path
// last counts. An empty value takes back what the list held.
func appendSubvolumes(list []Subvolume, value string, o *Options) ([]Subvolume, error) {
	if value == "" {
		return nil, nil
	}
	words, err := o.words(value)
	if err != nil {
		return nil, err
	}
	list = slices.Clone(list)
	for _, word := range words {
		dir, flags, flagged := strings.Cut(word, ":")
		v := Subvolume{}
		if v.Path, err = parsePath(dir); err != nil {
			return nil, err
		}
		for _, flag := range strings.Split(flags, ",") {
			switch {
			case !flagged:
			case flag == "ro":
				v.ReadOnly = true
			case flag == "nodatacow":
				v.NoDataCow = true
			default:
				return nil, fmt.Errorf("subvolume flag %q is none of ro, nodatacow", flag)
			}
		}
		if i := slices.IndexFunc(list, func(old Subvolume) bool { return old.Path == v.Path }); i >= 0 {
			list[i] = v
			continue
		}
		list = append(list, v)
	}
	return list, nil
}

// appendMountPoint reads MountPoint=: WHERE[:OPTIONS]. An empty value takes
// back what the list held.
func appendMountPoint(list []MountPoint, value string, _ *Options) ([]MountPoint, error) {
	if value == "" {
		return nil, nil
	}
	fields, err := splitColons(value, true)
	if err != nil {
		return nil, err
	}
	if len(fields) > 2 {
		return nil, fmt.Errorf("%q has more than a path and options (put what contains a colon into quotes)", value)
	}
	m := MountPoint{}
	if m.Where, err = parsePath(fields[0]); err != nil {
		return nil, err
	}
	if len(fields) == 2 {
		m.Options = fields[1]
	}
	return append(list, m), nil
}

// parseEncryptedVolume reads EncryptedVolume=: NAME[:KEYFILE[:OPTIONS[:EXTRA]]].
func parseEncryptedVolume(value string) (*EncryptedVolume, error) {
	if value == "" {
		return nil, nil
	}
	fields, err := splitColons(value, true)
	if err != nil {
		return nil, err
	}
	if len(fields) > 4 {
		return nil, fmt.Errorf("%q has more than name, key file, options and extra options (put what contains a colon into quotes)", value)
	}
	fields = append(fields, make([]string, 4-len(fields))...)
	v := &EncryptedVolume{Name: fields[0], KeyFile: fields[1], Options: fields[2]}
	if strings.ContainsRune(v.Name, '/') || v.Name == "." || v.Name == ".." || len(v.Name) > maxName {
		return nil, fmt.Errorf("%q cannot be the name of a volume", v.Name)
	}
	for _, field := range fields {
		if strings.ContainsAny(field, blanks+"\x00") {
			return nil, fmt.Errorf("%q contains a blank, which crypttab(5) has no way to write", field)
		}
	}
	for _, extra := range strings.Split(fields[3], ",") {
		switch extra {
		case "":
		case "fixate-volume-key":
			v.FixateVolumeKey = true
		default:
			return nil, fmt.Errorf("extra option %q is not fixate-volume-key", extra)
		}
	}
	return v, nil
}
