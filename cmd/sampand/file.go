package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// maxConfigFile bounds daemon.json.
const maxConfigFile = 1 << 20

// readFile sets the flags that the configuration file names. A missing file is
// no error unless it was asked for. What is given in both places is refused, as
// in dockerd: neither could win without surprising somebody.
func readFile(f *pflag.FlagSet, path string) error {
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) && !f.Lookup("config-file").Changed {
		return nil
	}
	if err != nil {
		return fmt.Errorf("unable to configure the daemon with file %s: %w", path, err)
	}
	defer file.Close()
	raw, err := io.ReadAll(io.LimitReader(file, maxConfigFile+1))
	if err != nil || len(raw) > maxConfigFile {
		return fmt.Errorf("unable to configure the daemon with file %s: it cannot be read or has more than %d bytes", path, maxConfigFile)
	}
	if strings.TrimSpace(string(raw)) == "" {
		return nil
	}
	var values map[string]json.RawMessage
	if err := json.Unmarshal(raw, &values); err != nil {
		return fmt.Errorf("unable to configure the daemon with file %s: %w", path, err)
	}
	if err := apply(f, values); err != nil {
		return fmt.Errorf("unable to configure the daemon with file %s: %w", path, err)
	}
	return nil
}

func apply(f *pflag.FlagSet, values map[string]json.RawMessage) error {
	flags := map[string]*pflag.Flag{}
	f.VisitAll(func(fl *pflag.Flag) {
		if !notInFile(fl.Name) {
			flags[fileKey(fl.Name)] = fl
		}
	})
	var unknown, both []string
	for _, key := range slices.Sorted(maps.Keys(values)) {
		switch fl := flags[key]; {
		case fl == nil:
			unknown = append(unknown, key)
		case fl.Changed:
			both = append(both, fmt.Sprintf("%s: (from flag: %s, from file: %s)", key, fl.Value, values[key]))
		}
	}
	if len(unknown) > 0 {
		return fmt.Errorf("the following directives don't match any configuration option: %s", strings.Join(unknown, ", "))
	}
	if len(both) > 0 {
		return fmt.Errorf("the following directives are specified both as a flag and in the configuration file: %s", strings.Join(both, ", "))
	}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		texts, err := flagTexts(values[key])
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		// An empty list is one that was given: it takes the place of the default.
		if list, ok := flags[key].Value.(pflag.SliceValue); ok && texts != nil && len(texts) == 0 {
			if err := list.Replace(texts); err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
		}
		for _, text := range texts {
			if err := f.Set(flags[key].Name, text); err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
		}
	}
	return nil
}

// flagTexts turns a JSON value into the texts that the flag would be given.
func flagTexts(raw json.RawMessage) ([]string, error) {
	var value any
	dec := json.NewDecoder(strings.NewReader(string(raw)))
	dec.UseNumber()
	if err := dec.Decode(&value); err != nil {
		return nil, err
	}
	switch v := value.(type) {
	case nil:
		return nil, nil
	case []any:
		out := []string{}
		for _, item := range v {
			text, err := itemText(item)
			if err != nil {
				return nil, err
			}
			out = append(out, text)
		}
		return out, nil
	case map[string]any:
		var out []string
		for _, k := range slices.Sorted(maps.Keys(v)) {
			text, err := entryText(k, v[k])
			if err != nil {
				return nil, err
			}
			out = append(out, text)
		}
		return out, nil
	default:
		return []string{fmt.Sprint(v)}, nil
	}
}

// itemText writes one item of a list: a text, or an object such as an address
// pool, {"base":"10.0.0.0/8","size":24}.
func itemText(item any) (string, error) {
	object, ok := item.(map[string]any)
	if !ok {
		return fmt.Sprint(item), nil
	}
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(object)) {
		if _, nested := object[k].(map[string]any); nested {
			return "", fmt.Errorf("%s: unexpected object", k)
		}
		parts = append(parts, fmt.Sprintf("%s=%v", strings.ToLower(k), object[k]))
	}
	return strings.Join(parts, ","), nil
}

// entryText writes one entry of an object: k=v, or a ulimit,
// "nofile": {"Name":"nofile","Soft":1024,"Hard":2048}.
func entryText(key string, value any) (string, error) {
	object, ok := value.(map[string]any)
	if !ok {
		return fmt.Sprintf("%s=%v", key, value), nil
	}
	soft, hasSoft := object["Soft"]
	hard, hasHard := object["Hard"]
	switch {
	case hasSoft && hasHard:
		return fmt.Sprintf("%s=%v:%v", key, soft, hard), nil
	case hasHard:
		return fmt.Sprintf("%s=%v", key, hard), nil
	}
	raw, err := json.Marshal(object)
	return fmt.Sprintf("%s=%s", key, raw), err
}
