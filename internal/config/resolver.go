package config

import (
	"cmp"
	"context"
	"maps"
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
	own     bool     // something was assigned here, not only passed down
	origins []Origin // of the value
	history []Origin // of all assignments, also of those that no longer count
}

// entry returns the entry that a setting's assignments go to.
func (l layer) entry(s *Setting) *entry {
	name := cmp.Or(s.into, s.Name)
	if l[name] == nil {
		l[name] = &entry{}
	}
	return l[name]
}

// set keeps a value that includes what earlier assignments made.
func (e *entry) set(v any, from Origin) {
	e.value, e.origins, e.history, e.own = v, append(e.origins, from), append(e.history, from), true
}

// add puts a value on top of what is there.
func (e *entry) add(s *Setting, v any, from Origin) {
	if e.value != nil && s.kind.merge != nil {
		v = s.kind.merge(e.value, v)
	}
	e.set(v, from)
}

// clear is the empty assignment.
func (e *entry) clear(from Origin) {
	*e = entry{reset: true, origins: []Origin{from}, history: append(e.history, from)}
}

// record is what reading leaves behind beside the values.
type record struct {
	errors, warnings problems
	sources          []*Source
	links            links
	expanded         int // bytes that specifiers added to values
}

// A resolver collects the assignments for one image and computes the value
// of each setting from them, at any time: conditions and specifiers see what
// has been read so far.
type resolver struct {
	ctx  context.Context
	o    *LoadOptions
	log  *record
	dir  string // of the configuration
	name string // of the image

	// The layers, highest first. A single value is that of the highest layer
	// that has one; collections are appended from the lowest up.
	cli, local, file layer
	// current is the layer that files are read into.
	current layer

	files       []string
	pending     []pending // includes that were asked for and not read yet
	included    map[string]bool
	depth       int
	sourceDepth int
	seed        uuid.UUID // a random one
}

// pending is a path that was included and has not been read yet.
type pending struct {
	path string
	from Origin
}

func newResolver(ctx context.Context, o *LoadOptions, log *record, dir, name string) (*resolver, error) {
	seed, err := drawSeed(o.Rand)
	r := &resolver{
		ctx: ctx, o: o, log: log, dir: dir, name: name,
		cli: layer{}, local: layer{}, file: layer{},
		included: map[string]bool{}, seed: seed,
	}
	r.current = r.file
	return r, err
}

// assign adds one assignment to a layer. What is wrong with the text is an
// error without a place.
func (r *resolver) assign(l layer, s *Setting, text, dir string, from Origin) error {
	e := l.entry(s)
	from.Value = text
	if s.hidesText() {
		from.Value = hidden
	}
	if text == "" {
		if !s.kind.keeps {
			e.clear(from)
		}
		return nil
	}
	at := r.place(s, dir)
	at.from = from
	value, err := s.kind.parse(at, e.value, text)
	if err != nil {
		return err
	}
	if s.Name == "Include" {
		old, _ := e.value.([]string)
		r.want(value.([]string)[len(old):], from)
	}
	e.set(value, from)
	return nil
}

// hidden stands for a secret.
const hidden = "(hidden)"

// want remembers the includes that have not been read yet.
func (r *resolver) want(paths []string, from Origin) {
	for _, path := range paths {
		if !r.included[path] && !slices.ContainsFunc(r.pending, func(p pending) bool { return p.path == path }) {
			r.pending = append(r.pending, pending{path, from})
		}
	}
}

func (r *resolver) place(s *Setting, dir string) *place {
	return &place{dir: dir, home: r.o.Host.Home, homeOf: r.o.Host.HomeOf, env: r.o.Host.Environment, setting: s, seed: r.seed, warnings: &r.log.warnings, links: r.log.links}
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
		own := e.value
		if own != nil && s.kind.arrange != nil && e.own {
			own = s.kind.arrange(own)
		}
		switch {
		case e.reset && i == 2: // only the command line clears the layers below
			value = own
		case value == nil:
			value = own
		case own != nil:
			value = s.kind.merge(value, own)
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

// history returns every assignment to a setting, lowest layer first.
func (r *resolver) history(s *Setting) (all []Assignment) {
	for i, l := range []layer{r.file, r.local, r.cli} {
		e := l[s.Name]
		if e == nil {
			continue
		}
		for _, o := range e.history {
			all = append(all, Assignment{Origin: o, layer: i})
		}
	}
	judge(s, all)
	return all
}

// image computes every setting.
func (r *resolver) image() *Image {
	img := &Image{Image: r.name, Files: r.files, origins: map[string][]Origin{}, history: map[string][]Assignment{}, host: Architecture(r.o.Host.Architecture)}
	fields := reflect.ValueOf(img).Elem()
	for _, s := range table {
		if s.into != "" {
			continue
		}
		if v := r.value(s); v != nil {
			fields.Field(s.field).Set(reflect.ValueOf(v))
		}
		if o := r.origins(s); len(o) > 0 {
			img.origins[s.Name], img.history[s.Name] = o, r.history(s)
		}
	}
	return img
}

// takenOver is the entry of a value that comes from an image, or from the
// program, and not from an assignment.
func takenOver(v any, origins []Origin) *entry {
	e := &entry{origins: origins, history: slices.Clone(origins)}
	if !empty(v) {
		e.value = owned(v)
	}
	return e
}

// empty reports whether a value is as good as none. No is a value.
func empty(v any) bool {
	rv := reflect.ValueOf(v)
	switch rv.Kind() {
	case reflect.Slice, reflect.Map:
		return rv.Len() == 0
	case reflect.Bool:
		return false
	}
	return !rv.IsValid() || rv.IsZero()
}

// owned makes a value that came from an image one that an entry may add to.
func owned(v any) any {
	if m, ok := v.(map[string]string); ok {
		return maps.Clone(m)
	}
	if rv := reflect.ValueOf(v); rv.Kind() == reflect.Slice {
		return rv.Slice3(0, rv.Len(), rv.Len()).Interface()
	}
	return v
}

// field returns the value of a setting in an image.
func field(img *Image, s *Setting) any {
	return reflect.ValueOf(img).Elem().Field(s.field).Interface()
}
