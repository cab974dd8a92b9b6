package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// support says how much of a setting a build honours: nothing, some values,
// or all of it. A setting that means something only beside another one, such
// as the key of something that is not signed yet, leaves it to that one.
type support struct {
	all    bool
	values []string // as the JSON summary spells them, or yes and no
	native bool     // only the architecture of the machine
}

var full = support{all: true}

func only(values ...string) support { return support{values: values} }

// UnsupportedSetting is a setting with a value that a build cannot honour.
type UnsupportedSetting struct {
	Setting string
	Value   string // "" for a secret
	Origin  Origin
	Reason  string // a clause such as "Sign= is not supported yet"
}

// Unsupported returns what the image asks for and no build can honour yet, in
// the order of the settings table. A setting that was never assigned and of
// which nothing at all is supported has no effect and is not listed.
func Unsupported(img *Image) []UnsupportedSetting {
	var list []UnsupportedSetting
	for _, s := range table {
		origins := img.Origin(s.Name)
		if s.into != "" || s.built.all || len(origins) == 0 && s.built.values == nil {
			continue
		}
		v := field(img, s)
		if s.isDefault(v) || s.built.honours(img, v) {
			continue
		}
		u := UnsupportedSetting{Setting: s.Name, Value: plain(v)}
		if n := len(origins); n > 0 {
			u.Origin = origins[n-1]
		}
		u.Reason = fmt.Sprintf("%s= is not supported yet", s.Name)
		switch {
		case s.built.native:
			u.Reason = fmt.Sprintf("%s= supports only %s, that of this machine, so far", s.Name, img.host)
		case len(s.built.values) > 0:
			u.Reason = fmt.Sprintf("%s= supports only %s so far", s.Name, s.built.written())
		}
		if s.Secret {
			u.Value = ""
		}
		list = append(list, u)
	}
	return list
}

// written lists the values as one would write them.
func (b support) written() string {
	list := slices.Clone(b.values)
	for i, v := range list {
		switch Feature(v) {
		case Enabled:
			list[i] = "yes"
		case Disabled:
			list[i] = "no"
		}
	}
	return strings.Join(list, ", ")
}

// honours reports whether v is one of the values that a build knows.
func (b support) honours(img *Image, v any) bool {
	if b.native {
		return v == img.host
	}
	return slices.Contains(b.values, plain(v))
}

// isDefault reports whether a value does nothing: it is empty or the fixed
// default of the setting.
func (s *Setting) isDefault(v any) bool {
	rv := reflect.ValueOf(v)
	switch rv.Kind() {
	case reflect.Slice, reflect.Map:
		if rv.Len() == 0 {
			return true
		}
	default:
		if rv.IsZero() && s.kind != boolean {
			return true
		}
	}
	if s.kind == boolean && s.Default == nil {
		return v == false
	}
	return reflect.DeepEqual(v, s.Default)
}
