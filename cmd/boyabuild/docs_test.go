package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

const docsDir = "../../docs"

// golden compares a generated document with the one that is published, and
// with -update publishes it.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	p := filepath.Join(docsDir, name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(p)
	if err != nil {
		t.Fatalf("%v (go test ./cmd/boyabuild -update writes it)", err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("docs/%s is not what the code says; go test ./cmd/boyabuild -update rewrites it:\n%s", name, diff)
	}
}

// The schema by which editors complete and check boyabuild.yaml follows from the
// configuration's Go type.
func TestSchema(t *testing.T) {
	schema := schemaOf(t, reflect.TypeFor[config]())
	schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	schema["title"] = "boyabuild.yaml"
	schema["description"] = "How boyabuild builds, pushes and deploys an app."
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(schema); err != nil {
		t.Fatal(err)
	}
	golden(t, "boyabuild.schema.json", b.Bytes())
}

func schemaOf(t *testing.T, typ reflect.Type) map[string]any {
	t.Helper()
	type object = map[string]any
	switch {
	case typ == reflect.TypeFor[stringList]():
		return object{"oneOf": []object{{"type": "string"}, {"type": "array", "items": object{"type": "string"}}}}
	case typ.Kind() == reflect.String:
		return object{"type": "string"}
	case typ.Kind() == reflect.Int:
		return object{"type": "integer"}
	case typ.Kind() == reflect.Slice:
		return object{"type": "array", "items": schemaOf(t, typ.Elem())}
	case typ.Kind() == reflect.Map:
		return object{"type": "object", "additionalProperties": schemaOf(t, typ.Elem())}
	case typ.Kind() != reflect.Struct:
		t.Fatalf("%s has no place in a schema", typ)
	}
	properties := object{}
	for i := range typ.NumField() {
		f := typ.Field(i)
		key := f.Tag.Get("yaml")
		if key == "" {
			continue
		}
		p := schemaOf(t, f.Type)
		if p["description"] = f.Tag.Get("doc"); p["description"] == "" {
			t.Errorf("%s.%s has no description", typ, f.Name)
		}
		properties[key] = p
	}
	return object{"type": "object", "additionalProperties": false, "properties": properties}
}

// The reference of the command line follows from the commands.
func TestReference(t *testing.T) {
	started := false
	root := newRoot(&env{stdout: io.Discard, stderr: io.Discard, getenv: func(string) string { return "" }}, &started)
	root.DisableAutoGenTag = true // no dates
	pages := map[string][]byte{}
	addPages(t, root, pages)
	dir := filepath.Join(docsDir, "cli")
	if *update {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	for name, page := range pages {
		golden(t, filepath.Join("cli", name), page)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(pages)), names); diff != "" {
		t.Errorf("docs/cli has other pages than there are commands:\n%s", diff)
	}
}

func addPages(t *testing.T, cmd *cobra.Command, pages map[string][]byte) {
	t.Helper()
	var b bytes.Buffer
	if err := doc.GenMarkdown(cmd, &b); err != nil {
		t.Fatal(err)
	}
	pages[strings.ReplaceAll(cmd.CommandPath(), " ", "_")+".md"] = b.Bytes()
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			addPages(t, c, pages)
		}
	}
}

// Every flag says what it is for, and none of boyabuild's own is lost on a
// reader of --help.
func TestFlagsAreDescribed(t *testing.T) {
	started := false
	root := newRoot(&env{stdout: io.Discard, stderr: io.Discard, getenv: func(string) string { return "" }}, &started)
	var visit func(*cobra.Command)
	visit = func(cmd *cobra.Command) {
		if cmd.Short == "" {
			t.Errorf("%s has no description", cmd.CommandPath())
		}
		for line := range strings.Lines(cmd.LocalFlags().FlagUsages()) {
			if f := strings.Fields(line); strings.HasPrefix(strings.TrimSpace(line), "-") && len(f) < 3 {
				t.Errorf("%s: %s", cmd.CommandPath(), line)
			}
		}
		for _, c := range cmd.Commands() {
			visit(c)
		}
	}
	visit(root)
	if flag.Lookup("update") == nil {
		t.Fatal("no -update")
	}
}
