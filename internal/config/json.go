package config

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/google/uuid"
)

// JSON returns the configuration in the form of the reference's summary:
// four spaces of indentation, keys in order, null for what has no value.
func JSON(c *Config) ([]byte, error) {
	doc := map[string]any{"Tools": nil}
	images := []any{}
	for _, img := range c.Images {
		images = append(images, jsonImage(img))
	}
	doc["Images"] = images
	if c.Tools != nil {
		doc["Tools"] = jsonImage(c.Tools)
	}
	b, err := appendJSON(make([]byte, 0, 32<<10*(len(images)+1)), doc, 0)
	if err != nil {
		return nil, fmt.Errorf("writing the configuration as JSON: %w", err)
	}
	return append(b, '\n'), nil
}

func jsonImage(img *Image) map[string]any {
	doc := make(map[string]any, len(table)+3)
	doc["Image"], doc["Files"] = img.Image, jsonValue(img.Files)
	for _, s := range table {
		if s.hidden {
			continue
		}
		v := field(img, s)
		doc[s.Name] = jsonValue(v)
		if s.keepsEmpty || s.nullList && img.Image == MainImage && reflect.ValueOf(v).IsNil() && len(img.Origin(s.Name)) == 0 {
			doc[s.Name] = v
		}
	}
	if dir := img.BuildSubdirectory(); dir != "" {
		doc["BuildSubdirectory"] = dir
	}
	return doc
}

// jsonValue turns a value into what encoding/json writes as the reference does.
func jsonValue(v any) any {
	switch v := v.(type) {
	case Tree:
		return map[string]any{"Source": v.Source, "Target": orNull(v.Target)}
	case KeySource:
		return map[string]any{"Type": v.Type, "Source": v.Source}
	case *RootPassword:
		if v == nil {
			return nil
		}
		return []any{v.Password, v.Hashed}
	case UKIProfile:
		return map[string]any{"Profile": v.Profile, "Cmdline": jsonValue(v.Cmdline), "SignExpectedPcr": v.SignExpectedPcr}
	case Credential:
		if v.Path != "" {
			return map[string]any{"Name": v.Name, "Path": v.Path, "Value": nil}
		}
		return map[string]any{"Name": v.Name, "Path": nil, "Value": v.Value}
	case Drive:
		return map[string]any{"Id": v.ID, "Size": v.Size, "Directory": orNull(v.Directory), "Options": orNull(v.Options),
			"FileId": v.FileID, "Flags": jsonValue(v.Flags)}
	case uuid.UUID:
		return v.String()
	}
	rv := reflect.ValueOf(v)
	switch rv.Kind() {
	case reflect.String:
		return orNull(rv.String())
	case reflect.Pointer:
		if rv.IsNil() {
			return nil
		}
		return jsonValue(rv.Elem().Interface())
	case reflect.Slice:
		list := make([]any, rv.Len())
		for i := range list {
			list[i] = jsonValue(rv.Index(i).Interface())
		}
		return list
	case reflect.Map:
		if rv.IsNil() {
			return map[string]any{}
		}
	}
	return v
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// plain writes a value as one would in a configuration file, a list with
// spaces in between.
func plain(v any) string {
	if rv := reflect.ValueOf(v); rv.Kind() == reflect.Pointer {
		if rv.IsNil() {
			return ""
		}
		return plain(rv.Elem().Interface())
	}
	switch v := v.(type) {
	case bool:
		if v {
			return "yes"
		}
		return "no"
	case Credential:
		return v.Name
	case Drive:
		return v.ID
	case UKIProfile:
		return v.Profile["ID"]
	case uuid.UUID:
		return v.String()
	case fmt.Stringer:
		return v.String()
	}
	switch reflect.ValueOf(v).Kind() {
	case reflect.Slice, reflect.Map:
		return strings.Join(plainList(v), " ")
	}
	return fmt.Sprint(v)
}
