package manual

import "github.com/mkosi-go/mkosi/internal/config"

//go:generate go run ./generate ../../man

// SchemaFile is the name of the file with the schema of the JSON summary.
const SchemaFile = "mkosi.summary.schema.json"

// Files returns the files that a release installs, by their names.
func Files() (map[string][]byte, error) {
	schema, err := config.JSONSchema()
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{SchemaFile: schema}
	for _, name := range Names() {
		p := Load(name)
		files[p.File()] = Roff(p)
	}
	return files, nil
}
