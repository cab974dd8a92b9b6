package config

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// compiledSchema is the schema as a validator.
func compiledSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	data, err := JSONSchema()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("summary.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("summary.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func TestSummariesAreWhatTheSchemaSays(t *testing.T) {
	schema := compiledSchema(t)
	paths, err := filepath.Glob("testdata/load/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, path := range paths {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if archive.Files[len(archive.Files)-1].Name != "want.json" {
			continue
		}
		dir, args := extract(t, archive)
		c, err := load(t, dir, args...)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		data, err := JSON(c)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(doc); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		checked++
	}
	if checked < 20 {
		t.Errorf("only %d summaries were checked", checked)
	}
}

func TestSchemaRefusesOtherSummaries(t *testing.T) {
	schema := compiledSchema(t)
	c, err := load(t, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	data, err := JSON(c)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string][2]string{
		"unknown key":     {`"Image":`, `"Unheard": 1, "Image":`},
		"missing key":     {`"Format": "disk",`, ``},
		"unknown choice":  {`"Format": "disk"`, `"Format": "floppy"`},
		"text for number": {`"SectorSize": null`, `"SectorSize": "512"`},
	} {
		changed := strings.Replace(string(data), change[0], change[1], 1)
		if changed == string(data) {
			t.Fatalf("%s: the summary has no %s", name, change[0])
		}
		doc, err := jsonschema.UnmarshalJSON(strings.NewReader(changed))
		if err != nil {
			t.Fatal(err)
		}
		if schema.Validate(doc) == nil {
			t.Errorf("%s: the schema does not mind", name)
		}
	}
}
