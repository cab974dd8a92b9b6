package config

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestSettings holds the facts of the table that configurations depend on
// against a list that was checked with the reference.
func TestSettings(t *testing.T) {
	var b strings.Builder
	for _, s := range Settings() {
		fmt.Fprintf(&b, "[%s] %s: %s, %s, --%s", s.Section, s.Name, s.Scope, s.Kind(), s.Long)
		if s.Short != "" {
			fmt.Fprintf(&b, " -%s", s.Short)
		}
		for _, part := range []struct {
			name string
			list []string
		}{{"was", append(s.OldNames, s.OldLong...)}, {"files", append(s.Paths, s.Globs...)}, {"choices", s.Choices()}} {
			if len(part.list) > 0 {
				fmt.Fprintf(&b, ", %s %s", part.name, strings.Join(part.list, " "))
			}
		}
		if s.Specifier != 0 {
			fmt.Fprintf(&b, ", %%%c", s.Specifier)
		}
		if s.matches != nil {
			b.WriteString(", condition")
		}
		if s.Secret {
			b.WriteString(", secret")
		}
		b.WriteString("\n")
	}
	const golden = "testdata/settings.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Error(diff)
	}
	if n := strings.Count(b.String(), "\n"); n != 191 {
		t.Errorf("there are %d settings, not 191", n)
	}
}

func TestSettingsAreWhole(t *testing.T) {
	image := reflect.TypeFor[Image]()
	names := map[string]string{}
	for _, s := range Settings() {
		field, ok := image.FieldByName(s.Name)
		if into := Lookup(s.into); into != nil {
			field, ok = image.FieldByName(into.Name)
		}
		if !ok {
			t.Errorf("%s has no field", s.Name)
			continue
		}
		if s.Default != nil && !reflect.TypeOf(s.Default).AssignableTo(field.Type) {
			t.Errorf("the default of %s is a %T, its field a %s", s.Name, s.Default, field.Type)
		}
		if s.Default != nil && s.fallback != nil {
			t.Errorf("%s has two defaults", s.Name)
		}
		if s.Collects() != (field.Type.Kind() == reflect.Slice || field.Type.Kind() == reflect.Map) {
			t.Errorf("%s: its kind and its field disagree about whether it is a collection", s.Name)
		}
		if s.Help == "" || strings.HasSuffix(s.Help, ".") {
			t.Errorf("%s: help %q", s.Name, s.Help)
		}
		for _, name := range append(append([]string{s.Name, "--" + s.Long, "-" + s.Short}, s.OldNames...), s.OldLong...) {
			if other := names[name]; other != "" && name != "-" {
				t.Errorf("%s and %s are both called %s", s.Name, other, name)
			}
			names[name] = s.Name
		}
	}
	for i := range image.NumField() {
		name := image.Field(i).Name
		if image.Field(i).IsExported() && name != "Image" && name != "Files" && Lookup(name) == nil {
			t.Errorf("field %s is no setting", name)
		}
	}
}

// TestAssignEverything gives each setting a value, in a file and as an
// option, and expects it to arrive in its field.
func TestAssignEverything(t *testing.T) {
	for _, s := range Settings() {
		value := sampleValue(s)
		dir := t.TempDir()
		if err := os.WriteFile(dir+"/file", []byte("[UKIProfile]\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(dir+"/dir", 0o755); err != nil {
			t.Fatal(err)
		}
		if s.Name == "Dependencies" {
			if err := os.Mkdir(dir+"/mkosi.images", 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(dir+"/mkosi.images/file.conf", nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		conf := fmt.Sprintf("[%s]\n%s=%s\n", s.Section, s.Name, value)
		if err := os.WriteFile(dir+"/mkosi.conf", []byte(conf), 0o644); err != nil {
			t.Fatal(err)
		}
		fromFile, err := load(t, dir, "summary")
		if err != nil {
			t.Errorf("%s=%s in a file: %v", s.Name, value, err)
			continue
		}
		if err := os.Remove(dir + "/mkosi.conf"); err != nil {
			t.Fatal(err)
		}
		fromOption, err := load(t, dir, "summary", "--"+s.Long, value)
		if err != nil {
			t.Errorf("--%s %s: %v", s.Long, value, err)
			continue
		}
		name := s.Name
		if s.into != "" {
			name = s.into
		}
		a, b := field(fromFile.Main(), s), field(fromOption.Main(), s)
		if diff := cmp.Diff(a, b); diff != "" {
			t.Errorf("%s: file and option differ: %s", s.Name, diff)
		}
		if o := fromFile.Main().Origin(name); len(o) != 1 || o[0].Line != 2 || o[0].Kind != FromFile {
			t.Errorf("%s: origin %v", s.Name, o)
		}
		if o := fromOption.Main().Origin(name); len(o) != 1 || o[0].Kind != FromOption {
			t.Errorf("%s: origin %v", s.Name, o)
		}
		if s.isDefault(a) {
			t.Errorf("%s=%s changed nothing", s.Name, value)
		}
	}
}

// sampleValue is a value that differs from the default.
func sampleValue(s *Setting) string {
	switch s.Name {
	case "Seed", "MachineId":
		return "00112233445566778899aabbccddeeff"
	case "OutputMode":
		return "0640"
	case "SectorSize":
		return "4096"
	case "VSockCID":
		return "3"
	case "Drives":
		return "a:1G"
	case "MinimumVersion":
		return "20"
	case "Environment", "OciLabels", "OciAnnotations", "Credentials":
		return "A=b"
	case "Include":
		return "dir"
	case "Splash":
		return "/splash"
	case "CompressOutput":
		return "xz"
	case "BuildSources":
		return "dir:there"
	case "ToolsTree":
		return "dir"
	}
	if strings.HasSuffix(s.Name, "Source") {
		return "provider:x"
	}
	switch s.kind.name {
	case "boolean":
		if s.Default == true {
			return "no"
		}
		return "yes"
	case "feature":
		return "no"
	case "size", "number", "compression level":
		return "8192"
	case "seconds since 1970":
		return "1"
	case "choice", "list of formats", "list of artifacts":
		if len(s.kind.choices) == 0 {
			return "json"
		}
		for _, c := range s.kind.choices {
			if fmt.Sprint(s.Default) != c {
				return c
			}
		}
	}
	return "file"
}
