package config

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mkosi-go/mkosi/internal/ini"
)

// Images that the program adds by itself. What is in them beyond what the
// user's configuration passes down is not said here.
const (
	defaultInitrdName = "default-initrd"
	toolsName         = "tools"
)

// initrdPath is where the default initrd is put.
func (l *loader) initrdPath() string {
	return filepath.Join(l.main.OutputDir(l.c.Dir), "initrd")
}

func (l *loader) hasDefaultInitrd() bool {
	return slices.ContainsFunc(l.subs, func(i *Image) bool { return i.Image == defaultInitrdName })
}

// defaultInitrd replaces the word "default" among the initrds of each image
// by a path, and adds the image that makes it.
func (l *loader) defaultInitrd() error {
	wanted := false
	for _, img := range append([]*Image{l.main}, l.subs...) {
		if !slices.Contains(img.Initrds, "default") {
			continue
		}
		img.Initrds = slices.Clone(img.Initrds)
		for i, initrd := range img.Initrds {
			if initrd == "default" {
				img.Initrds[i] = l.initrdPath()
			}
		}
		if img != l.main {
			img.Dependencies = append(slices.Clone(img.Dependencies), defaultInitrdName)
		}
		wanted = true
	}
	if !wanted {
		l.passOver("mkosi.initrd.conf", RoleInitrd, defaultInitrdName, "no image has the default initrd")
		return nil
	}
	r, err := l.newResolver(defaultInitrdName)
	if err != nil {
		return err
	}
	r.passDown(l.main)
	for _, s := range table {
		if s.Scope == InitrdInherit {
			r.inherit(s, l.main)
		}
	}
	if len(l.main.Origin("InitrdProfiles")) > 0 { // even if to nothing
		r.preset("Profiles", l.main.InitrdProfiles, l.main, "InitrdProfiles")
	}
	r.preset("Packages", l.main.InitrdPackages, l.main, "InitrdPackages")
	r.preset("VolatilePackages", l.main.InitrdVolatilePackages, l.main, "InitrdVolatilePackages")
	l.builtinImage(r, "mkosi.initrd.conf", "mkosi-initrd", RoleInitrd)
	l.subs = append(l.subs, r.image())
	return nil
}

// builtinImage reads what the user has to say about an image that the program
// adds, and then the built-in configuration of it.
func (l *loader) builtinImage(r *resolver, name, builtin string, role Role) {
	if path := filepath.Join(l.source, name); l.source != "" && exists(path) {
		r.parseAny(path, l.source, true, visit{role: role, name: r.name})
	}
	r.parseAny(builtinRoot+builtin, l.source, false, visit{role: role, name: builtin})
}

// passOver records configuration of an image that the program does not add.
func (l *loader) passOver(name string, role Role, image, why string) {
	if path := filepath.Join(l.source, name); l.source != "" && exists(path) {
		r := *l.resolver
		r.name, r.sourceDepth = image, 0
		r.passOver(path, l.source, visit{role: role, name: image}, why)
	}
}

// preset gives an image that the program adds a value that a setting of
// another name has in the main image, or, without that name, one of the
// program's own.
func (r *resolver) preset(name string, v any, main *Image, setting string) {
	origins := []Origin{{Kind: FromProgram, Value: plain(v)}}
	if setting != "" {
		origins = from(main.Origin(setting), main)
	}
	into := r.file
	if slices.ContainsFunc(origins, func(o Origin) bool { return o.Kind == FromOption || o.Kind == FromHistory }) {
		into = r.cli // nothing in a file takes away what the command line says
	}
	into[name] = takenOver(v, origins)
}

// resolveTools replaces the word "default" as the tools tree of the main
// image by a path, and adds the image that makes it.
func (l *loader) resolveTools(main *resolver) error {
	if l.main.ToolsTree != "default" {
		l.passOver("mkosi.tools.conf", RoleTools, toolsName, "there is no default tools tree, see ToolsTree=")
		return nil
	}
	l.main.ToolsTree = filepath.Join(l.c.Dir, "mkosi.tools")
	r, err := l.newResolver(toolsName)
	if err != nil {
		return err
	}
	for _, s := range table {
		switch {
		case s.Scope == Multiversal:
			r.inherit(s, l.main)
		case s.Scope == ToolsOnly && Lookup(strings.TrimPrefix(s.Name, "ToolsTree")) != nil:
			r.preset(strings.TrimPrefix(s.Name, "ToolsTree"), field(l.main, s), l.main, s.Name)
		}
	}
	r.preset("Architecture", defaultArchitecture(main), nil, "")
	r.preset("Format", FormatDirectory, nil, "")
	l.builtinImage(r, "mkosi.tools.conf", "mkosi-tools", RoleTools)
	r.preset("Output", "mkosi.tools", nil, "") // whatever has been said
	l.c.Tools = r.image()
	return nil
}

// DefaultKernelModules returns the patterns that "default" stands for in
// KernelModules= and its like: the modules that the built-in initrd has.
func DefaultKernelModules() ([]string, error) {
	const file = builtinRoot + "mkosi-initrd/mkosi.conf.d/kernel-modules.conf"
	data, err := readFile(file, ini.MaxSize)
	if err != nil {
		return nil, err
	}
	entries, err := ini.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", file, err)
	}
	var patterns []string
	for _, e := range entries {
		if e.Section == "Content" && e.Key == "KernelModules" {
			words, err := splitCommas(e.Value)
			if err != nil {
				return nil, err
			}
			patterns = append(patterns, words...)
		}
	}
	return patterns, nil
}
