package config

import (
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mkosi-go/mkosi/internal/shellwords"
)

// ImageSummary is the configuration of one image, told for people.
type ImageSummary struct {
	Image string
	// Output is the path of the output.
	Output string
	// Sections have the settings to show; one without any is left out.
	Sections []SectionSummary
	// Shared names the settings that are not shown because they are as in
	// the main image, which passed them down.
	Shared []string
}

// SectionSummary is a section with its settings.
type SectionSummary struct {
	Name     string
	Settings []SettingSummary
}

// SettingSummary is a setting with its value.
type SettingSummary struct {
	Name   string
	Values []ValueSummary // an element each of a list, else one
}

// ValueSummary is a value as one would write it, with what made it so.
type ValueSummary struct {
	Text string
	// Origins is empty for a default.
	Origins []Origin
}

// Summarize tells what the configuration of each image is. Unless all is
// given, that is what differs from the default, and what nobody wants to do
// without; what a subimage has unchanged from the main image is only named.
// There are no secrets in it.
func Summarize(c *Config, all bool) []ImageSummary {
	var list []ImageSummary
	for _, img := range c.shown() {
		sum := ImageSummary{Image: img.Image, Output: img.OutputPath(c.Dir)}
		for _, name := range Sections() {
			section := SectionSummary{Name: name}
			for _, s := range table {
				switch {
				case s.Section != name || s.into != "":
				case all:
					section.Settings = append(section.Settings, summarize(img, s))
				case img != c.Main() && shared(img, c.Main(), s):
					sum.Shared = append(sum.Shared, s.Name)
				case essential[s.Name] && (img == c.Main() || s.Scope == Local) ||
					differs(img, s) || overrides(img, c.Main(), s):
					section.Settings = append(section.Settings, summarize(img, s))
				}
			}
			if len(section.Settings) > 0 {
				sum.Sections = append(sum.Sections, section)
			}
		}
		list = append(list, sum)
	}
	return list
}

// shown returns the images in the order in which they are shown: the tools
// tree, which everything else needs, comes first.
func (c *Config) shown() []*Image {
	if c.Tools != nil {
		return append([]*Image{c.Tools}, c.Images...)
	}
	return c.Images
}

// essential settings are shown even if they have their default.
var essential = map[string]bool{"Distribution": true, "Release": true, "Architecture": true, "Format": true}

// differs reports whether something was assigned that is not the default
// anyway. A default that depends on other settings counts as another value.
func differs(img *Image, s *Setting) bool {
	if len(img.Origin(s.Name)) == 0 {
		return false
	}
	v := field(img, s)
	if s.Default != nil || s.fallback != nil {
		return !reflect.DeepEqual(v, s.Default)
	}
	return !s.isDefault(v)
}

// shared reports whether an image has a value that the main image passed
// down, with nothing added to it.
func shared(img, main *Image, s *Setting) bool {
	origins := img.Origin(s.Name)
	if len(origins) == 0 || slices.ContainsFunc(origins, func(o Origin) bool { return o.From != main.Image }) {
		return false
	}
	return reflect.DeepEqual(field(img, s), field(main, s))
}

// overrides reports whether an image takes back what the main image would
// pass down.
func overrides(img, main *Image, s *Setting) bool {
	return s.Scope == Inherit && len(img.Origin(s.Name)) > 0 && !reflect.DeepEqual(field(img, s), field(main, s))
}

func summarize(img *Image, s *Setting) SettingSummary {
	origins := img.Origin(s.Name)
	if !s.Collects() && len(origins) > 1 {
		origins = origins[len(origins)-1:] // the last one won
	}
	sum := SettingSummary{Name: s.Name}
	for _, text := range valueTexts(s, field(img, s)) {
		sum.Values = append(sum.Values, ValueSummary{Text: text, Origins: origins})
	}
	if len(sum.Values) > 1 {
		attribute(sum.Values)
	}
	return sum
}

// attribute leaves each element of a list only the origins that name it, if
// every element is named by one.
func attribute(values []ValueSummary) {
	// The origins that have a word, after an equals sign, and after a slash
	// those with a path whose end it is.
	byWord := map[string][]int{}
	for i, o := range values[0].Origins {
		for _, word := range originWords(o) {
			for _, w := range []string{"=" + word, "/" + strings.TrimPrefix(word, "./")} {
				if list := byWord[w]; len(list) == 0 || list[len(list)-1] != i {
					byWord[w] = append(list, i)
				}
			}
		}
	}
	named := map[string][]Origin{} // by element, which may repeat
	for _, v := range values {
		if named[v.Text] != nil {
			continue
		}
		for _, o := range naming(v.Text, byWord) {
			named[v.Text] = append(named[v.Text], v.Origins[o])
		}
		if named[v.Text] == nil {
			return
		}
	}
	for i, v := range values {
		values[i].Origins = named[v.Text]
	}
}

// naming returns the origins that an element comes from: those with the word
// that it is, or with a path that it is below some directory.
func naming(element string, byWord map[string][]int) []int {
	found := slices.Clone(byWord["="+element])
	for i := range len(element) {
		if element[i] == '/' {
			found = append(found, byWord[element[i:]]...)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// originWords returns all that can be a word of an assignment, by whatever
// rule it is split.
func originWords(o Origin) []string {
	words, _ := splitSpaces(o.Value)
	if quoted, err := shellwords.Split(o.Value); err == nil {
		words = append(words, quoted...)
	}
	commas, _ := splitCommas(o.Value)
	return append(words, commas...)
}

// valueTexts writes a value as one would in a configuration file, one text
// for each element of a list.
func valueTexts(s *Setting, v any) []string {
	if reflect.ValueOf(v).Kind() == reflect.Pointer && reflect.ValueOf(v).IsNil() {
		return []string{"none"}
	}
	list := plainList(v)
	switch v := v.(type) {
	case []Drive:
		for i, d := range v {
			list[i] = driveText(d)
		}
	case []UKIProfile:
		for i, p := range v {
			list[i] = profileText(p)
		}
	default:
		if text := specialText(s, v); text != "" {
			list = []string{text}
		}
	}
	for i := range list {
		list[i] = withoutPassword(list[i])
	}
	if s.Secret && len(list) > 0 {
		return []string{"(set)"}
	}
	if len(list) == 0 {
		return []string{"none"}
	}
	return list
}

// specialText writes a value that is no plain number or word to people, or
// returns "". V is no nil pointer.
func specialText(s *Setting, v any) string {
	switch v := v.(type) {
	case Feature:
		return map[Feature]string{Enabled: "yes", Disabled: "no"}[v]
	case *uint32:
		return fmt.Sprintf("%04o", *v)
	}
	var n int64
	switch v := v.(type) {
	case int64:
		n = v
	case *int64:
		n = *v
	default:
		return ""
	}
	switch {
	case s.kind == size || s.kind == fixedSize:
		return sizeText(n)
	case s.kind == timestamp:
		return fmt.Sprintf("%d (%s)", n, time.Unix(n, 0).UTC().Format("2006-01-02 15:04:05 MST"))
	case s.kind == vsockCID && n == VSockCIDAuto:
		return "auto"
	case s.kind == vsockCID && n == VSockCIDHash:
		return "hash"
	}
	return ""
}

// driveText writes a drive as Drives= takes it.
func driveText(d Drive) string {
	id := d.FileID
	if id == d.ID {
		id = ""
	}
	return strings.TrimRight(strings.Join([]string{d.ID, sizeText(d.Size), d.Directory, d.Options, id, strings.Join(d.Flags, ",")}, ":"), ":")
}

// profileText names what is in a profile of a unified kernel image.
func profileText(p UKIProfile) string {
	words := plainList(p.Profile)
	if len(p.Cmdline) > 0 {
		words = append(words, "Cmdline="+strings.Join(p.Cmdline, " "))
	}
	if p.SignExpectedPcr {
		words = append(words, "SignExpectedPcr=yes")
	}
	return strings.Join(words, " ")
}

// sizeText writes a number of bytes with the largest unit that divides it.
func sizeText(n int64) string {
	for _, unit := range []struct {
		bytes int64
		name  string
	}{{1 << 30, "G"}, {1 << 20, "M"}, {1 << 10, "K"}} {
		if n%unit.bytes == 0 {
			return strconv.FormatInt(n/unit.bytes, 10) + unit.name
		}
	}
	return strconv.FormatInt(n, 10)
}

// withoutPassword hides the password in a URL.
func withoutPassword(text string) string {
	if !strings.Contains(text, "://") || !strings.Contains(text, "@") {
		return text
	}
	u, err := url.Parse(text)
	if err != nil {
		return "(hidden: not a valid URL)"
	}
	if _, has := u.User.Password(); !has {
		return text
	}
	return u.Redacted()
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
