package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// ImageJSON returns one image in the form of [JSON], in one line: what a
// configure script reads.
func ImageJSON(img *Image) ([]byte, error) {
	data, err := json.Marshal(jsonImage(img))
	if err != nil {
		return nil, fmt.Errorf("writing image %s as JSON: %w", img.Image, err)
	}
	return data, nil
}

// WithJSON returns a copy of the image with the settings of a JSON object in
// the form of [ImageJSON], as a configure script writes it. Settings that are
// not in it stay as they are. From is where values that differ come from.
func (img *Image) WithJSON(data []byte, from Origin) (*Image, error) {
	var doc map[string]json.RawMessage
	if err := decodeStrictly(data, &doc); err != nil {
		return nil, fmt.Errorf("reading the image as JSON: %w", err)
	}
	changed := *img
	changed.origins, changed.history = map[string][]Origin{}, map[string][]Assignment{}
	for name, o := range img.origins {
		changed.origins[name], changed.history[name] = o, img.history[name]
	}
	fields := reflect.ValueOf(&changed).Elem()
	for name, raw := range doc {
		if name == "Image" || name == "Files" || name == "BuildSubdirectory" {
			continue // what they say follows from the rest
		}
		s, v, err := decodeSetting(name, raw)
		if err != nil {
			return nil, err
		}
		f := fields.Field(s.field)
		if !reflect.DeepEqual(jsonValue(f.Interface()), jsonValue(v)) {
			from.Value = plain(v)
			if s.hidesText() {
				from.Value = hidden
			}
			changed.origins[name] = append(slices.Clone(changed.origins[name]), from)
			changed.history[name] = append(slices.Clone(changed.history[name]), Assignment{Origin: from, Effect: Sets})
			f.Set(reflect.ValueOf(v))
		}
	}
	return &changed, nil
}

// decodeStrictly reads one JSON value and nothing after it.
func decodeStrictly(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	if err := d.Decode(v); err != nil {
		return err
	}
	if d.More() {
		return errors.New("there is something after the JSON value")
	}
	return nil
}

// decodeSetting reads the value of the setting of that name, which is no old
// one and no other way to write a setting.
func decodeSetting(name string, raw json.RawMessage) (*Setting, any, error) {
	s := Lookup(name)
	if s == nil || s.Name != name || s.into != "" {
		return nil, nil, fmt.Errorf("there is no setting %q", name)
	}
	v, err := decodeValue(s, raw)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	return s, v, nil
}

// decodeValue reads a value of a setting as jsonValue writes it. It has the
// type of the setting's field.
func decodeValue(s *Setting, raw json.RawMessage) (any, error) {
	v := reflect.New(reflect.TypeFor[Image]().Field(s.field).Type).Elem()
	if err := decodeInto(v, raw); err != nil {
		return nil, err
	}
	return v.Interface(), s.checkChoice(v)
}

// checkChoice refuses words that a setting does not know.
func (s *Setting) checkChoice(v reflect.Value) error {
	if v.Type() == reflect.TypeFor[Feature]() {
		if !slices.Contains([]Feature{Enabled, Disabled, Auto}, Feature(v.String())) {
			return &choiceError{text: v.String(), choices: words([]Feature{Enabled, Disabled, Auto})}
		}
		return nil
	}
	if v.Kind() == reflect.String && s.kind.name == "choice" && v.String() != "" && !slices.Contains(s.kind.choices, v.String()) {
		return &choiceError{text: v.String(), choices: s.kind.choices}
	}
	return nil
}

// decodeInto reads JSON into a field of an image; null is its zero value.
func decodeInto(v reflect.Value, raw json.RawMessage) error {
	if string(raw) == "null" {
		v.SetZero()
		return nil
	}
	switch t := v.Interface().(type) {
	case uuid.UUID:
		var text string
		if err := decodeStrictly(raw, &text); err != nil {
			return err
		}
		id, err := parseUUID(text)
		v.Set(reflect.ValueOf(id))
		return err
	case RootPassword:
		var pair []any
		if err := decodeStrictly(raw, &pair); err != nil || len(pair) != 2 {
			return errors.New("it is not a password and whether that is hashed")
		}
		var ok [2]bool
		t.Password, ok[0] = pair[0].(string)
		t.Hashed, ok[1] = pair[1].(bool)
		v.Set(reflect.ValueOf(t))
		if !ok[0] || !ok[1] {
			return errors.New("it is not a password and whether that is hashed")
		}
		return nil
	case Drive, Credential, Tree, KeySource, UKIProfile:
		return decodeStruct(v, raw)
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return decodeInto(v.Elem(), raw)
	case reflect.Slice:
		var list []json.RawMessage
		if err := decodeStrictly(raw, &list); err != nil {
			return err
		}
		v.Set(reflect.MakeSlice(v.Type(), len(list), len(list)))
		for i, e := range list {
			if err := decodeInto(v.Index(i), e); err != nil {
				return err
			}
		}
		return nil
	}
	return decodeStrictly(raw, v.Addr().Interface())
}

// decodeStruct reads an object with the fields of a struct.
func decodeStruct(v reflect.Value, raw json.RawMessage) error {
	var doc map[string]json.RawMessage
	if err := decodeStrictly(raw, &doc); err != nil {
		return err
	}
	for name, raw := range doc {
		f := v.FieldByNameFunc(func(n string) bool { return strings.EqualFold(n, name) })
		if !f.IsValid() {
			return fmt.Errorf("there is no part %q", name)
		}
		if err := decodeInto(f, raw); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}
