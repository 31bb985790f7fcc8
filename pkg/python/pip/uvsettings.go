package pip

import (
	"fmt"
	"maps"
	"slices"
)

// uvSettle applies a configuration file's settings that are not about indexes,
// where neither the command line, nor a variable, nor a file that counts more
// has them. Those of a project alone (workspace, default-groups, …) are no
// options and are passed over.
func uvSettle[T subject](set *optionSet[T], in T, seen map[string]bool, f uvFile, forPip bool) error {
	if forPip {
		for _, key := range []string{"override-dependencies", "constraint-dependencies", "exclude-dependencies", "dependency-metadata"} {
			if !isNothing(f.all[key]) {
				return &ConfigError{File: f.name, Reason: key + " " + refuseChange}
			}
		}
		if table, ok := f.all["pip"].(map[string]any); ok {
			if err := uvSettleTable(set, in, seen, f.name, table); err != nil {
				return err
			}
		}
	}
	return uvSettleTable(set, in, seen, f.name, f.all)
}

// isIndexSetting reports the keys that uvSettings has.
func isIndexSetting(key string) bool {
	return slices.Contains([]string{"index", "index-url", "extra-index-url", "find-links", "no-index", "index-strategy", "keyring-provider",
		"allow-insecure-host", "prerelease", "exclude-newer", "require-hashes", "no-build", "no-build-package", "no-binary", "only-binary",
		"no-binary-package"}, key)
}

func uvSettleTable[T subject](set *optionSet[T], in T, seen map[string]bool, name string, table map[string]any) error {
	for _, key := range slices.Sorted(maps.Keys(table)) {
		o := set.exact(key)
		if o == nil || isIndexSetting(key) || seen[o.long[0]] || isNothing(table[key]) {
			continue
		}
		if on, ok := table[key].(bool); key == "package" || ok && !on && o.refuse != "" {
			continue // tool.uv.package is no option; what is refused is switched off
		}
		values, ok := uvValues(table[key])
		if !ok || o.refuse != "" {
			reason := o.refuse
			if reason == "" {
				reason = "has a value of a form that is not known here"
			}
			return &ConfigError{File: name, Reason: key + " " + reason}
		}
		seen[o.long[0]] = true
		for _, v := range values {
			if err := o.configure(in, configured{key: key, value: v, file: name}, false); err != nil {
				return err
			}
		}
	}
	return nil
}

// isNothing reports values that switch a setting off, or hold nothing.
func isNothing(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}

// uvValues gives a value as a command line would have it; a table is a list of
// KEY=VALUE.
func uvValues(v any) ([]string, bool) {
	switch v := v.(type) {
	case bool, string, int64:
		return []string{fmt.Sprint(v)}, true
	case []any:
		var out []string
		for _, x := range v {
			more, ok := uvValues(x)
			if !ok {
				return nil, false
			}
			out = append(out, more...)
		}
		return out, true
	case map[string]any:
		var out []string
		for _, key := range slices.Sorted(maps.Keys(v)) {
			more, ok := uvValues(v[key])
			if !ok {
				return nil, false
			}
			for _, m := range more {
				out = append(out, key+"="+m)
			}
		}
		return out, true
	}
	return nil, false
}
