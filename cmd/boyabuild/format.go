package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/template"
)

// formats returns what writes a listing in the form that --format names: a
// table, JSON, or a Go template whose fields have the names of the JSON. The
// example is of such a template.
func formats[T any](format, example string, table func(io.Writer, T) error) (func(io.Writer, T) error, error) {
	switch {
	case format == "table":
		return table, nil
	case format == "json":
		return func(w io.Writer, v T) error {
			enc := json.NewEncoder(w)
			enc.SetEscapeHTML(false)
			enc.SetIndent("", "  ")
			return enc.Encode(v)
		}, nil
	case !strings.Contains(format, "{{"):
		return nil, usagef("--format is %q, none of table, json and a Go template such as '%s'", format, example)
	}
	t, err := template.New("format").Option("missingkey=error").Parse(format)
	if err != nil {
		return nil, usagef("--format: %v", err)
	}
	return func(w io.Writer, v T) error {
		b, err := json.Marshal(v)
		if err != nil {
			return err
		}
		var fields any
		d := json.NewDecoder(strings.NewReader(string(b)))
		d.UseNumber() // sizes are not written as 1e+08
		if err := d.Decode(&fields); err != nil {
			return err
		}
		var out strings.Builder // nothing is written of one that ends in an error
		if err := t.Execute(&out, fields); err != nil {
			return usagef("--format: %v", err)
		}
		_, err = fmt.Fprintln(w, out.String())
		return err
	}, nil
}
