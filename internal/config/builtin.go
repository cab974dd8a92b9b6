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
	preset := map[string]any{
		"Format": FormatCPIO, "Output": "initrd", "MakeInitrd": true, "Bootable": Disabled, "CleanPackageMetadata": Enabled,
		"Locale": "C.UTF-8", "WithDocs": false, "SplitArtifacts": []Artifact(nil), "BuildSources": []Tree(nil),
		"Profiles": l.main.InitrdProfiles, "Packages": l.main.InitrdPackages, "VolatilePackages": l.main.InitrdVolatilePackages,
	}
	for name, v := range preset {
		r.preset(name, v)
	}
	if l.source != "" {
		path := filepath.Join(l.source, "mkosi.initrd.conf")
		if exists(path) {
			if _, err := r.parse(path, l.source, false); err != nil {
				return err
			}
		}
	}
	l.subs = append(l.subs, r.image())
	return nil
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
	for _, s := range table {
		if s.Scope == Multiversal || s.ForTools && s.Name != "Output" {
			r.inherit(s, l.main)
		}
	}
	for name, v := range map[string]any{
		"Distribution": l.main.ToolsTreeDistribution, "Release": l.main.ToolsTreeRelease, "Architecture": defaultArchitecture(main),
		"Mirror": l.main.ToolsTreeMirror, "Snapshot": l.main.ToolsTreeSnapshot, "Repositories": l.main.ToolsTreeRepositories,
		"Profiles": l.main.ToolsTreeProfiles, "Packages": l.main.ToolsTreePackages, "PackageDirectories": l.main.ToolsTreePackageDirectories,
		"SandboxTrees": l.main.ToolsTreeSandboxTrees, "Output": "mkosi.tools", "Format": FormatDirectory, "Bootable": Disabled,
		"OutputDirectory": "", "Incremental": l.main.Incremental, "CacheOnly": l.main.CacheOnly,
	} {
		r.preset(name, v)
	}
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
