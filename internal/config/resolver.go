package config

import (
	"cmp"
	"context"
	"errors"
	"reflect"
	"slices"

	"github.com/google/uuid"
)

// A layer holds what one kind of place assigned to settings.
type layer map[string]*entry

// entry is what the assignments to one setting in a layer amount to.
type entry struct {
	value   any // of the type of the setting's field, or nil
	reset   bool
	origins []Origin
}

// A resolver collects the assignments for one image and computes the value
// of each setting from them, at any time: conditions and specifiers see what
// has been read so far.
type resolver struct {
	ctx  context.Context
	o    *LoadOptions
	dir  string // of the configuration
	name string // of the image
	main bool   // the main image, in which every setting may be set

	// The layers, highest first. A single value is that of the highest layer
	// that has one; collections are appended from the lowest up.
	cli, local, file layer
	// current is the layer that files are read into.
	current layer
	// inherited names the settings that came from the main image.
	inherited map[string]bool

	files    []string
	pending  []string // includes that were asked for and not read yet
	included map[string]bool
	depth    int
	warnings []*Error
	seed     uuid.UUID // a random one
}

func newResolver(ctx context.Context, o *LoadOptions, dir, name string) (*resolver, error) {
	seed, err := drawSeed(o.Rand)
	r := &resolver{
		ctx: ctx, o: o, dir: dir, name: name, main: name == MainImage,
		cli: layer{}, local: layer{}, file: layer{},
		inherited: map[string]bool{}, included: map[string]bool{}, seed: seed,
	}
	r.current = r.file
	return r, err
}

// assign adds one assignment to a layer.
func (r *resolver) assign(l layer, s *Setting, text, dir string, from Origin) error {
	target := s
	if s.into != "" {
		target = Lookup(s.into)
	}
	e := l[target.Name]
	if e == nil {
		e = &entry{}
		l[target.Name] = e
	}
	from.Value = text
	if s.Secret {
		from.Value = "(hidden)"
	}
	if text == "" {
		*e = entry{reset: true, origins: []Origin{from}}
		return nil
	}
	value, err := s.kind.parse(r.place(s, dir), e.value, text)
	if err != nil {
		return settingError(s, from, err)
	}
	e.value = value
	e.origins = append(e.origins, from)
	if s.Name == "Include" {
		r.pending = append(r.pending, newIncludes(value.([]string), r.included, r.pending)...)
	}
	return nil
}

func newIncludes(all []string, included map[string]bool, pending []string) []string {
	var fresh []string
	for _, path := range all {
		if !included[path] && !slices.Contains(pending, path) && !slices.Contains(fresh, path) {
			fresh = append(fresh, path)
		}
	}
	return fresh
}

func (r *resolver) place(s *Setting, dir string) *place {
	return &place{dir: dir, home: r.o.Host.Home, env: r.o.Host.Environment, setting: s}
}

// settingError says where a value was wrong.
func settingError(s *Setting, from Origin, err error) error {
	e := &Error{File: from.File, Line: from.Line, Setting: s.Name}
	name := s.Name
	if from.Kind == FromOption {
		name = "--" + s.Long
	}
	e.Msg = name + ": " + err.Error()
	var h hinter
	if errors.As(err, &h) {
		e.Hint = h.hint()
	}
	return e
}

// assigned returns what the layers make of a setting, nil if it was emptied,
// and whether anything was assigned at all.
func (r *resolver) assigned(s *Setting) (value any, ok bool) {
	if !s.Collects() {
		for _, l := range []layer{r.cli, r.local, r.file} {
			if e := l[s.Name]; e != nil {
				return e.value, true
			}
		}
		return nil, false
	}
	for i, l := range []layer{r.file, r.local, r.cli} {
		e := l[s.Name]
		if e == nil {
			continue
		}
		ok = true
		switch {
		case e.reset && i == 2: // only the command line clears the layers below
			value = e.value
		case value == nil:
			value = e.value
		case e.value != nil:
			value = s.kind.merge(value, e.value)
		}
	}
	return value, ok
}

// value returns the value of a setting as far as it is known now, its
// default included; nil if it has none.
func (r *resolver) value(s *Setting) any {
	v, ok := r.assigned(s)
	switch {
	case v != nil || ok && s.Collects():
		return v
	case s.fallback != nil:
		return s.fallback(r)
	}
	return s.Default
}

// get returns the value of the named setting, or the zero value of its type.
func get[T any](r *resolver, name string) T {
	v, _ := r.value(Lookup(name)).(T)
	return v
}

// origins returns where a setting was assigned, lowest layer first.
func (r *resolver) origins(s *Setting) []Origin {
	var all []Origin
	for _, l := range []layer{r.file, r.local, r.cli} {
		if e := l[s.Name]; e != nil {
			all = append(all, e.origins...)
		}
	}
	return all
}

// image computes every setting.
func (r *resolver) image() *Image {
	img := &Image{Image: r.name, Files: r.files, origins: map[string][]Origin{}, host: Architecture(r.o.Host.Architecture)}
	fields := reflect.ValueOf(img).Elem()
	for _, s := range table {
		if s.into != "" {
			continue
		}
		if v := r.value(s); v != nil {
			fields.FieldByName(s.Name).Set(reflect.ValueOf(v))
		}
		if o := r.origins(s); len(o) > 0 {
			img.origins[s.Name] = o
		}
	}
	return img
}

// field returns the value of a setting in an image.
func field(img *Image, s *Setting) any {
	return reflect.ValueOf(img).Elem().FieldByName(cmp.Or(s.into, s.Name)).Interface()
}

func (r *resolver) warn(from Origin, setting, msg string) {
	r.warnings = append(r.warnings, &Error{File: from.File, Line: from.Line, Setting: setting, Msg: msg})
}
