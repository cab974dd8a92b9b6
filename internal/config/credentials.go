package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mkosi-go/mkosi/internal/shellwords"
)

// credentials are either NAME=VALUE words or the path of a file or of a
// directory of files.
var credentials = &kind{
	name: "credentials",
	parse: func(c *place, old any, text string) (any, error) {
		read := pathCredentials
		if strings.Contains(text, "=") {
			read = wordCredentials
		}
		values, err := read(c, text)
		if err != nil {
			return nil, err
		}
		before, _ := old.([]Credential)
		return append(slices.Clone(before), values...), nil
	},
	merge:     func(low, high any) any { return slices.Concat(low.([]Credential), high.([]Credential)) },
	directory: func(_ *place, path string) (any, error) { return readCredentials(path) },
}

func wordCredentials(_ *place, text string) ([]Credential, error) {
	words, err := shellwords.Split(text)
	var list []Credential
	for _, word := range words {
		name, value, _ := strings.Cut(word, "=")
		list = append(list, Credential{Name: name, Value: value})
	}
	return list, err
}

// pathCredentials takes the path as it is written, tilde, variables, spaces
// and all.
func pathCredentials(c *place, text string) ([]Credential, error) {
	path := text
	if !filepath.IsAbs(path) {
		path = c.dir + "/" + path
	}
	path = tidy(path)
	info, err := os.Stat(path)
	switch {
	case c.unread:
		return nil, nil
	case err != nil:
		return nil, &credentialError{}
	case info.IsDir():
		return readCredentials(path)
	}
	return []Credential{{Name: filepath.Base(path), Path: path}}, nil
}

// credentialError is a credential without a value that is no file either.
type credentialError struct{}

// Error does not say what was written: it may be a secret.
func (e *credentialError) Error() string { return "this is neither NAME=VALUE nor the path of a file" }

func (e *credentialError) hint() string {
	return "write NAME=VALUE words, or one path of a file or directory"
}

func readCredentials(dir string) ([]Credential, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("reading credentials: %w", err)
	}
	var list []Credential
	for _, e := range entries {
		path := dir + "/" + e.Name() // not cleaned: a link may come before dots
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			list = append(list, Credential{Name: e.Name(), Path: path})
		}
	}
	return list, nil
}
