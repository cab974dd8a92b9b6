package config

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// Load reads the command line and the configuration that it points to. What
// is wrong with either is an [*Error] or, when it is more than one thing,
// [Errors]; what could be read is returned all the same. For a verb or an
// option that has no use for a configuration, none is read and there are no
// images.
func Load(ctx context.Context, o LoadOptions) (*Config, error) {
	if o.CommandLine == nil {
		o.CommandLine = ParseArgs(o.Args)
	}
	cl, err := o.CommandLine.line, o.CommandLine.err
	c := &Config{Options: cl.options, Verb: cl.verb, VerbArgs: cl.verbArgs, Warnings: cl.warnings}
	if err != nil {
		return c, err
	}
	if c.Dir, err = directory(o.Dir, cl.options.Directory); err != nil {
		return c, err
	}
	if cl.options.Help || cl.options.Version || !cl.verb.NeedsConfig() {
		return c, nil
	}
	l := &loader{ctx: ctx, o: &o, c: c, log: record{links: links{}}}
	if err := l.load(cl.arguments); err != nil {
		return c, err
	}
	c.Warnings = append(c.Warnings, l.log.warnings.list...)
	c.Sources = l.log.sources
	c.reader = l
	return c, l.log.errors.err()
}

// directory finds the directory of the configuration.
func directory(start, option string) (string, error) {
	dir := option
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(start, dir)
	}
	info, err := os.Stat(dir)
	if err != nil || !info.IsDir() {
		return "", &Error{Setting: "directory", Msg: fmt.Sprintf("%s is not a directory", dir)}
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return "", fmt.Errorf("finding the directory of the configuration: %w", err)
	}
	return dir, nil
}

// loader turns a command line into images.
type loader struct {
	ctx context.Context
	o   *LoadOptions
	c   *Config
	log record

	main   *Image
	subs   []*Image // those of mkosi.images, then built-in ones
	dir    string   // that was asked for; relative paths of the command line start there
	source string   // the directory with the configuration files, "" for none

	resolver *resolver // of the main image
}

// load returns an error only if it could not go on; what is wrong with the
// configuration is in the record.
func (l *loader) load(args []argument) error {
	l.dir = l.c.Dir
	if !l.c.Options.NoDirectory {
		l.source = configDirectory(l.dir)
		l.c.Dir = l.source
	}
	r, err := l.newResolver(MainImage)
	if err != nil {
		return err
	}
	l.resolver = r
	for _, a := range args {
		from := Origin{Kind: FromOption}
		dir, err := directory(l.o.Dir, a.directory)
		if err == nil {
			err = r.assign(r.cli, a.setting, a.text, dir, from)
		}
		if err != nil {
			l.log.errors.add(settingError(a.setting, from, err))
		}
	}
	l.applyHistory(r)
	r.includes(r.dir)
	r.files = nil
	if l.c.Options.NoDirectory {
		r.dir = ""
	} else {
		r.parseTop(l.source, true, visit{role: RoleMain})
	}
	l.main = r.image()
	if err := l.resolveTools(r); err != nil {
		return err
	}
	if err := l.subimages(); err != nil {
		return err
	}
	if err := l.defaultInitrd(); err != nil {
		return err
	}
	l.order(r)
	return l.ctx.Err()
}

func (l *loader) newResolver(image string) (*resolver, error) {
	dir := l.dir
	if l.c.Options.NoDirectory && image != MainImage { // that needs it for the paths on the command line
		dir = ""
	}
	return newResolver(l.ctx, l.o, &l.log, dir, image)
}

// configDirectory returns the directory itself, or its subdirectory "mkosi"
// if only that has a configuration.
func configDirectory(dir string) string {
	sub := filepath.Join(dir, "mkosi")
	for _, name := range []string{"mkosi.conf", "mkosi.tools.conf"} {
		if exists(filepath.Join(dir, name)) {
			return dir
		}
	}
	for _, name := range []string{"mkosi.conf", "mkosi.tools.conf"} {
		if exists(filepath.Join(sub, name)) {
			return sub
		}
	}
	return dir
}

// subimages reads the images of mkosi.images.
func (l *loader) subimages() error {
	if l.source == "" {
		return nil
	}
	dir := filepath.Join(l.source, "mkosi.images")
	if _, err := readDir(dir); err != nil {
		l.log.errors.add(&Error{File: dir, Msg: "reading the images: " + rootCause(err)})
	}
	for _, image := range namedIn(dir) {
		if err := l.subimage(image.name, image.path); err != nil {
			return err
		}
	}
	return nil
}

func (l *loader) subimage(name, path string) error {
	if name == MainImage || slices.ContainsFunc(l.subs, func(i *Image) bool { return i.Image == name }) {
		l.log.errors.add(&Error{File: path, Msg: fmt.Sprintf("there is already an image %q", name)})
		return nil
	}
	r, err := l.newResolver(name)
	if err != nil {
		return err
	}
	r.passDown(l.main)
	if r.parseAny(path, l.source, true, visit{role: RoleImage, name: name}) {
		l.subs = append(l.subs, r.image())
	}
	return nil
}

// passDown gives a subimage what it has from the main image.
func (r *resolver) passDown(main *Image) {
	for _, s := range table {
		switch s.Scope {
		case Universal, Multiversal, Inherit:
			r.inherit(s, main)
		}
	}
	env := map[string]string{}
	for _, name := range main.PassEnvironment {
		if v, ok := main.Environment[name]; ok {
			env[name] = v
		}
	}
	if len(env) > 0 {
		r.file["Environment"] = takenOver(env, from(main.Origin("Environment"), main))
	}
}

// inherit takes a value over from another image.
func (r *resolver) inherit(s *Setting, img *Image) {
	if s.into != "" {
		return
	}
	origins := img.Origin(s.Name)
	if s.Scope == Inherit && len(origins) == 0 {
		return
	}
	r.file[s.Name] = takenOver(field(img, s), from(origins, img))
}

// from marks origins as those of another image.
func from(origins []Origin, img *Image) []Origin {
	origins = slices.Clone(origins)
	for i := range origins {
		if origins[i].From == "" {
			origins[i].From = img.Image
		}
	}
	return origins
}

// order puts the images that are asked for, and those that they depend on,
// into the order in which they are built.
func (l *loader) order(r *resolver) {
	wanted := l.main.Dependencies
	if _, set := r.assigned(Lookup("Dependencies")); !set {
		for _, img := range l.subs {
			if img.Image != defaultInitrdName {
				wanted = append(wanted, img.Image)
			}
		}
	}
	l.main.Dependencies = wanted
	if slices.Contains(l.main.Initrds, l.initrdPath()) && l.hasDefaultInitrd() {
		l.main.Dependencies = append(slices.Clone(wanted), defaultInitrdName)
	}
	all := append(l.subs, l.main)
	images, err := buildOrder(all, l.main)
	if err != nil {
		l.log.errors.addAll(err)
		images = all
	}
	l.c.Images = images
}
