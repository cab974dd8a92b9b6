package config

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Summary writes the configuration for people to read: for each image its
// settings by section, each with where it was set. Settings that were not
// set anywhere are left out unless all is given. Secrets are not shown.
func Summary(w io.Writer, c *Config, all bool) error {
	var b bytes.Buffer
	images := c.Images
	if c.Tools != nil {
		images = append([]*Image{c.Tools}, images...)
	}
	for i, img := range images {
		if i > 0 {
			b.WriteString("\n")
		}
		summarize(&b, c, img, all)
	}
	_, err := w.Write(b.Bytes())
	return err
}

func summarize(b *bytes.Buffer, c *Config, img *Image, all bool) {
	fmt.Fprintf(b, "IMAGE: %s\n", img.Image)
	fmt.Fprintf(b, "%37s: %s\n", "Output", img.OutputPath(c.Dir))
	for _, section := range Sections() {
		heading := "\n    " + strings.ToUpper(section) + ":\n"
		for _, s := range table {
			origins := img.Origin(s.Name)
			if s.Section != section || s.into != "" || len(origins) == 0 && !all {
				continue
			}
			b.WriteString(heading)
			heading = ""
			writeSetting(b, s, field(img, s), origins)
		}
	}
}

func writeSetting(b *bytes.Buffer, s *Setting, v any, origins []Origin) {
	lines := valueLines(s, v)
	if s.Secret && len(lines) > 0 {
		lines = []string{"(set)"}
	}
	if len(lines) == 0 {
		lines = []string{"none"}
	}
	for i, line := range lines {
		if i == 0 {
			line = fmt.Sprintf("%37s: %s", s.Name, line)
			if n := len(origins); n > 0 {
				line += "  (" + origins[n-1].String() + ")"
			}
		} else {
			line = strings.Repeat(" ", 39) + line
		}
		b.WriteString(line + "\n")
	}
}

// valueLines writes a value as one would in a configuration file, a line for
// each element.
func valueLines(s *Setting, v any) []string {
	if n, ok := sizeOf(s, v); ok {
		return []string{n}
	}
	if m, ok := v.(*uint32); ok && m != nil {
		return []string{fmt.Sprintf("%04o", *m)}
	}
	return plainList(v)
}

// sizeOf writes a number of bytes with the largest unit that divides it.
func sizeOf(s *Setting, v any) (string, bool) {
	var n int64
	switch v := v.(type) {
	case int64:
		n = v
	case *int64:
		if v == nil {
			return "", false
		}
		n = *v
	}
	if s.kind != size && s.kind != fixedSize {
		return "", false
	}
	for _, unit := range []struct {
		bytes int64
		name  string
	}{{1 << 30, "G"}, {1 << 20, "M"}, {1 << 10, "K"}} {
		if n%unit.bytes == 0 {
			return fmt.Sprint(n/unit.bytes) + unit.name, true
		}
	}
	return fmt.Sprint(n), true
}

// plainList writes each element of a list or a map as plain does. A value
// that is neither makes a list of one, no value an empty one.
func plainList(v any) []string {
	rv := reflect.ValueOf(v)
	var list []string
	switch rv.Kind() {
	case reflect.Slice:
		for i := range rv.Len() {
			list = append(list, plain(rv.Index(i).Interface()))
		}
	case reflect.Map:
		m := v.(map[string]string)
		for _, k := range slices.Sorted(maps.Keys(m)) {
			list = append(list, k+"="+m[k])
		}
	default:
		if s := plain(v); s != "" {
			list = append(list, s)
		}
	}
	return list
}

// CatConfig writes the configuration files that were read, each under a
// comment with its path.
func CatConfig(w io.Writer, c *Config) error {
	var b bytes.Buffer
	images := c.Images
	if c.Tools != nil {
		images = append([]*Image{c.Tools}, images...)
	}
	for i, img := range images {
		if i > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "### IMAGE: %s\n", img.Image)
		for _, path := range img.Files {
			data, err := readFile(path, maxValue)
			if err != nil {
				return fmt.Errorf("showing the configuration: %w", err)
			}
			fmt.Fprintf(&b, "\n# %s\n%s", path, data)
			if len(data) > 0 && data[len(data)-1] != '\n' {
				b.WriteString("\n")
			}
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}
