package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/google/uuid"
)

// JSONSchema returns the JSON Schema (2020-12) of what [JSON] writes.
func JSONSchema() ([]byte, error) {
	doc := map[string]any{
		"$schema": "https://json-schema.org/draft/2020-12/schema",
		"title":   "mkosi --json summary",
		"type":    "object",
		"properties": map[string]any{
			"Images": map[string]any{"type": "array", "minItems": 1, "items": map[string]any{"$ref": "#/$defs/Image"}},
			"Tools":  map[string]any{"anyOf": []any{map[string]any{"$ref": "#/$defs/Image"}, map[string]any{"type": "null"}}},
		},
		"required":             []string{"Images", "Tools"},
		"additionalProperties": false,
		"$defs":                map[string]any{"Image": imageSchema()},
	}
	b, err := json.MarshalIndent(doc, "", "    ")
	if err != nil {
		return nil, fmt.Errorf("writing the schema of the JSON summary: %w", err)
	}
	return append(b, '\n'), nil
}

// imageSchema is the schema of what jsonImage returns.
func imageSchema() map[string]any {
	properties := map[string]any{
		"Image":             schemaOf("string"),
		"Files":             listSchema(schemaOf("string")),
		"BuildSubdirectory": schemaOf("string"),
	}
	required := []string{"Image", "Files"}
	image := reflect.TypeFor[Image]()
	for _, s := range table {
		if s.hidden {
			continue
		}
		property := settingSchema(s, image.Field(s.field).Type)
		property["description"] = s.Help
		properties[s.Name] = property
		required = append(required, s.Name)
	}
	return objectSchema(properties, required)
}

// settingSchema is the schema of the value of a setting.
func settingSchema(s *Setting, t reflect.Type) map[string]any {
	schema := valueSchema(t)
	switch {
	case t.Kind() == reflect.String && len(s.kind.choices) > 0 && s.kind.name == "choice":
		schema = choiceSchema(s.kind.choices)
		if s.Default == nil && s.fallback == nil {
			schema["enum"] = append(schema["enum"].([]any), nil)
		}
	case t == reflect.TypeFor[Feature]():
		schema = choiceSchema(words([]Feature{Enabled, Disabled, Auto}))
	case t == reflect.TypeFor[Compression]():
		schema = choiceSchema(words([]Compression{CompressionNone, CompressionZstd, CompressionXZ, CompressionBzip2,
			CompressionGzip, CompressionLZ4, CompressionLZMA}))
	case t == reflect.TypeFor[[]ManifestFormat]():
		schema["items"] = choiceSchema(manifestFormat.choices)
	case t.Kind() == reflect.Slice && t.Elem() != reflect.TypeFor[string]() && len(s.kind.choices) > 0:
		schema["items"] = choiceSchema(s.kind.choices)
	}
	if s.nullList {
		schema["type"] = []string{"array", "null"}
	}
	return schema
}

// valueSchema is the schema of what jsonValue makes of a type.
func valueSchema(t reflect.Type) map[string]any {
	text, orText := schemaOf("string"), schemaOf("string", "null")
	switch t {
	case reflect.TypeFor[Tree]():
		return closedSchema(map[string]any{"Source": text, "Target": orText})
	case reflect.TypeFor[KeySource]():
		return closedSchema(map[string]any{"Type": choiceSchema([]string{"file", "engine", "provider"}), "Source": text})
	case reflect.TypeFor[*RootPassword]():
		return map[string]any{"type": []string{"array", "null"}, "minItems": 2, "maxItems": 2,
			"prefixItems": []any{text, schemaOf("boolean")}}
	case reflect.TypeFor[UKIProfile]():
		return closedSchema(map[string]any{"Profile": mapSchema(), "Cmdline": listSchema(text), "SignExpectedPcr": schemaOf("boolean")})
	case reflect.TypeFor[Credential]():
		return closedSchema(map[string]any{"Name": text, "Path": orText, "Value": orText})
	case reflect.TypeFor[Drive]():
		return closedSchema(map[string]any{"Id": text, "Size": schemaOf("integer"), "Directory": orText, "Options": orText,
			"FileId": text, "Flags": listSchema(text)})
	case reflect.TypeFor[uuid.UUID]():
		return map[string]any{"type": "string", "format": "uuid"}
	}
	switch t.Kind() {
	case reflect.Bool:
		return schemaOf("boolean")
	case reflect.String:
		return orText
	case reflect.Slice:
		item := valueSchema(t.Elem())
		if t.Elem().Kind() == reflect.String {
			item = text
		}
		return listSchema(item)
	case reflect.Map:
		return mapSchema()
	case reflect.Pointer:
		schema := valueSchema(t.Elem())
		schema["type"] = []any{schema["type"], "null"}
		return schema
	}
	return schemaOf("integer")
}

func schemaOf(types ...string) map[string]any {
	if len(types) == 1 {
		return map[string]any{"type": types[0]}
	}
	return map[string]any{"type": types}
}

func listSchema(item map[string]any) map[string]any {
	return map[string]any{"type": "array", "items": item}
}

func mapSchema() map[string]any {
	return map[string]any{"type": "object", "additionalProperties": schemaOf("string")}
}

func choiceSchema(choices []string) map[string]any {
	list := make([]any, len(choices))
	for i, c := range choices {
		list[i] = c
	}
	return map[string]any{"enum": list}
}

func objectSchema(properties map[string]any, required []string) map[string]any {
	return map[string]any{"type": "object", "properties": properties, "required": required, "additionalProperties": false}
}

// closedSchema is that of an object with all of its properties.
func closedSchema(properties map[string]any) map[string]any {
	return objectSchema(properties, slices.Sorted(maps.Keys(properties)))
}
