package config

import (
	"path/filepath"
	"reflect"
	"slices"
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
	var user *Image // the first image that wants it
	for _, img := range append([]*Image{l.main}, l.subs...) {
		i := slices.Index(img.Initrds, "default")
		if i < 0 {
			continue
		}
		img.Initrds = slices.Clone(img.Initrds)
		img.Initrds[i] = l.initrdPath()
		if img != l.main {
			img.Dependencies = append(slices.Clone(img.Dependencies), defaultInitrdName)
		}
		if user == nil {
			user = img
		}
	}
	if user == nil {
		return nil
	}
	r, err := newResolver(l.ctx, l.o, l.c.Dir, defaultInitrdName)
	if err != nil {
		return err
	}
	defer func() { l.collect(r) }()
	r.passDown(l.main)
	for _, s := range table {
		if s.Scope == InitrdInherit {
			r.inherit(s, user)
		}
	}
	r.preset("Profiles", slices.Concat(l.main.Profiles, l.main.InitrdProfiles))
	r.preset("Packages", l.main.InitrdPackages)
	r.preset("VolatilePackages", l.main.InitrdVolatilePackages)
	if err := l.builtinImage(r, "mkosi.initrd.conf", "mkosi-initrd"); err != nil {
		return err
	}
	l.subs = append(l.subs, r.image())
	return nil
}

// builtinImage reads what the user has to say about an image that the program
// adds, and then the built-in configuration of it.
func (l *loader) builtinImage(r *resolver, name, builtin string) error {
	if path := filepath.Join(l.source, name); l.source != "" && exists(path) {
		var err error
		if isDir(path) {
			_, err = r.parseTop(path, true)
		} else {
			_, err = r.parse(path, l.source, false)
		}
		if err != nil {
			return err
		}
	}
	return r.include(builtinRoot+builtin, l.source)
}

// preset sets a value that no assignment made.
func (r *resolver) preset(name string, v any) {
	e := &entry{}
	if !empty(v) || reflect.ValueOf(v).Kind() == reflect.Bool {
		e.value = v
	}
	r.file[name] = e
	r.inherited[name] = true
}

// resolveTools replaces the word "default" as the tools tree of the main
// image by a path, and adds the image that makes it.
func (l *loader) resolveTools(main *resolver) error {
	if l.main.ToolsTree != "default" {
		return nil
	}
	l.main.ToolsTree = filepath.Join(l.c.Dir, "mkosi.tools")
	r, err := newResolver(l.ctx, l.o, l.c.Dir, toolsName)
	if err != nil {
		return err
	}
	defer func() { l.collect(r) }()
	for _, s := range table {
		if s.Scope == Multiversal {
			r.inherit(s, l.main)
		}
	}
	for name, v := range map[string]any{
		"Distribution": l.main.ToolsTreeDistribution, "Release": l.main.ToolsTreeRelease, "Architecture": defaultArchitecture(main),
		"Mirror": l.main.ToolsTreeMirror, "Snapshot": l.main.ToolsTreeSnapshot, "Repositories": l.main.ToolsTreeRepositories,
		"Profiles": l.main.ToolsTreeProfiles, "Packages": l.main.ToolsTreePackages, "PackageDirectories": l.main.ToolsTreePackageDirectories,
		"SandboxTrees": l.main.ToolsTreeSandboxTrees, "Format": FormatDirectory,
	} {
		r.preset(name, v)
	}
	if err := l.builtinImage(r, "mkosi.tools.conf", "mkosi-tools"); err != nil {
		return err
	}
	r.preset("Output", "mkosi.tools") // whatever has been said
	l.c.Tools = r.image()
	return nil
}

// empty reports whether a value is as good as none.
func empty(v any) bool {
	rv := reflect.ValueOf(v)
	if k := rv.Kind(); k == reflect.Slice || k == reflect.Map {
		return rv.Len() == 0
	}
	return !rv.IsValid() || rv.IsZero()
}

// kindOfImage names what the resolver reads, for messages.
func (r *resolver) kindOfImage() string {
	switch r.name {
	case defaultInitrdName:
		return "the default initrd"
	case toolsName:
		return "the default tools tree"
	}
	return "a subimage"
}
