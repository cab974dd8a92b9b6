package config

import (
	"encoding/json"
	"fmt"
	"path/filepath"
)

// HistoryPath is where the settings of the command line of the last build are
// kept when History= is on, below the directory of the configuration.
const HistoryPath = ".mkosi-private/history/latest.json"

// HistoryJSON returns the settings of the command line for HistoryPath.
func (c *Config) HistoryJSON() ([]byte, error) {
	doc := map[string]any{}
	for name, e := range c.reader.resolver.cli {
		doc[name] = jsonValue(e.value)
	}
	data, err := json.MarshalIndent(doc, "", "    ")
	if err != nil {
		return nil, fmt.Errorf("writing the history: %w", err)
	}
	return append(data, '\n'), nil
}

// applyHistory puts the settings of the last build's command line in the
// place of those of this one, for verbs that use what was built.
func (l *loader) applyHistory(r *resolver) {
	if l.c.Verb == VerbBuild || l.c.Verb != VerbClean && l.c.Options.Force > 0 || l.c.Options.NoDirectory {
		return
	}
	path := filepath.Join(l.c.Dir, HistoryPath)
	if !exists(path) {
		return
	}
	values, err := readHistory(path)
	if err != nil {
		l.log.errors.add(&Error{File: path, Msg: "reading the settings of the last build: " + rootCause(err), Hint: "remove the file, or build again"})
		return
	}
	if len(values) == 0 {
		return
	}
	for _, s := range table {
		if r.cli[s.Name] != nil {
			l.log.warnings.add(&Error{Setting: s.Name, Msg: fmt.Sprintf("--%s is ignored: what counts is the command line of the last build", s.Long),
				Hint: "build again with --force to change it"})
		}
	}
	r.cli = layer{}
	r.pending = nil
	for name, v := range values {
		from := Origin{Kind: FromHistory, File: path, Value: plain(v)}
		if Lookup(name).hidesText() {
			from.Value = hidden
		}
		e := r.cli.entry(Lookup(name))
		if empty(v) {
			e.clear(from)
			continue
		}
		e.set(v, from)
		if paths, ok := v.([]string); ok && name == "Include" {
			r.want(paths, from)
		}
	}
}

func readHistory(path string) (map[string]any, error) {
	data, err := readFile(path, maxValue)
	if err != nil {
		return nil, err
	}
	var doc map[string]json.RawMessage
	if err := decodeStrictly(data, &doc); err != nil {
		return nil, err
	}
	values := map[string]any{}
	for name, raw := range doc {
		if _, values[name], err = decodeSetting(name, raw); err != nil {
			return nil, err
		}
	}
	return values, nil
}
