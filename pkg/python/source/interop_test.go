package source

import (
	"cmp"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/boyabuild/boyabuild/pkg/python"
)

// TestBackendsInterop compares wheels with those of the real back-ends.
// interop/backends.sh runs it twice with the same $SOURCE_BACKENDS: the first
// time it writes the projects there, NAME/project, and the second it reads what
// the back-ends made of them, NAME/wheel/*.whl and NAME/editable/*.whl.
func TestBackendsInterop(t *testing.T) {
	dir := os.Getenv("SOURCE_BACKENDS")
	if dir == "" {
		t.Skip("SOURCE_BACKENDS names no folder with wheels of the back-ends")
	}
	compared := 0
	for name, a := range projects(t) {
		t.Run(name, func(t *testing.T) {
			top := filepath.Join(dir, name, "project")
			if _, err := os.Stat(top); err != nil {
				for _, f := range a.Files {
					p := filepath.Join(top, filepath.FromSlash(f.Name))
					if err := os.MkdirAll(filepath.Dir(p), 0o777); err != nil {
						t.Fatal(err)
					}
					if err := os.WriteFile(p, f.Data, os.FileMode(modeOf(f.Name))); err != nil {
						t.Fatal(err)
					}
				}
				t.Skip("written; there is no wheel yet")
			}
			tree := treeOf(t, a)
			for _, kind := range []string{"wheel", "editable"} {
				found, err := filepath.Glob(filepath.Join(dir, name, kind, "*.whl"))
				if err != nil {
					t.Fatal(err)
				}
				if len(found) != 1 {
					if _, err := build(t, tree, kind == "editable"); err == nil {
						t.Errorf("%s: the back-end made %d wheels", kind, len(found))
					}
					continue
				}
				b, err := os.ReadFile(found[0])
				if err != nil {
					t.Fatal(err)
				}
				want := read(t, filepath.Base(found[0]), b)
				got, err := build(t, tree, kind == "editable")
				if err != nil {
					t.Logf("%s: left to the back-end: %v", kind, err)
					continue
				}
				compared++
				if kind == "wheel" {
					compareWheels(t, want, got)
				} else {
					compareEditable(t, want, got, top)
				}
			}
		})
	}
	t.Logf("%d wheels compared", compared)
}

// TestSdistsInterop compares the wheels made of real sdists,
// $SOURCE_BACKENDS/NAME/sdist/*, with those that pip built of them,
// NAME/wheel/*.whl.
func TestSdistsInterop(t *testing.T) {
	dir := os.Getenv("SOURCE_BACKENDS")
	sdists, err := filepath.Glob(filepath.Join(dir, "*", "sdist", "*"))
	if dir == "" || err != nil || len(sdists) == 0 {
		t.Skip("SOURCE_BACKENDS names no folder with sdists", err)
	}
	compared := 0
	for _, file := range sdists {
		t.Run(filepath.Base(file), func(t *testing.T) {
			s, err := OpenSdist(file, "", t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			m, static, err := s.Metadata()
			if err != nil {
				t.Fatal(err)
			}
			quick, quickStatic, err := SdistMetadata(file, "")
			if err != nil || quickStatic != static || len(quick.RequiresDist) != len(m.RequiresDist) || !quick.Version.Equal(m.Version) {
				t.Errorf("the metadata is not the same when only that is read: %v", err)
			}
			got, err := build(t, s.Tree(), false)
			if err != nil {
				t.Logf("static metadata: %v; left to the back-end: %v", static, err)
			}
			found, _ := filepath.Glob(filepath.Join(filepath.Dir(filepath.Dir(file)), "wheel", "*.whl"))
			if len(found) != 1 {
				if err == nil {
					t.Errorf("the back-end made %d wheels", len(found))
				}
				return
			}
			b, readErr := os.ReadFile(found[0])
			if readErr != nil {
				t.Fatal(readErr)
			}
			want := read(t, filepath.Base(found[0]), b)
			if static {
				for name, text := range want.files {
					if path.Base(name) == "METADATA" && strings.Count(name, "/") == 1 {
						diff(t, "static requirements", requirementsOf(t, text), requirementsOf(t, string(coreFrom(m))))
					}
				}
			}
			if err == nil {
				compared++
				compareWheels(t, want, got)
				installable(t, got)
			}
		})
	}
	t.Logf("%d of %d wheels compared", compared, len(sdists))
}

// coreFrom writes what was read of metadata.
func coreFrom(m python.Metadata) []byte {
	c := coreMetadata{metadataVersion: "2.4", name: m.Name, version: m.Version, extras: m.ProvidesExtra}
	for _, r := range m.RequiresDist {
		c.requiresDist = append(c.requiresDist, r.String())
	}
	return c.bytes()
}

// compareWheels reports where two wheels differ in a way that matters.
func compareWheels(t *testing.T, want, got built) {
	t.Helper()
	if want.filename != got.filename {
		t.Errorf("file name: %s, the back-end's is %s", got.filename, want.filename)
	}
	diff(t, "files", keys(want), keys(got))
	for name := range want.files {
		if _, ok := got.files[name]; !ok {
			continue
		}
		if exec := want.modes[name]&0o111 != 0; exec != (got.modes[name]&0o111 != 0) {
			t.Errorf("%s is executable in one only (the back-end's: %v)", name, exec)
		}
		compareFile(t, name, want.files[name], got.files[name])
	}
}

func compareFile(t *testing.T, name, want, got string) {
	t.Helper()
	switch {
	case !strings.Contains(name, ".dist-info/") || strings.Contains(name, "/licenses/"):
		diff(t, name, want, got)
	case path.Base(name) == "METADATA":
		diff(t, name, fieldsOf(want), fieldsOf(got))
		diff(t, name+" Requires-Dist", requirementsOf(t, want), requirementsOf(t, got))
		diff(t, name+" description", descriptionOf(want), descriptionOf(got))
	case path.Base(name) == "WHEEL":
		tags := func(s string) []string {
			var list []string
			for line := range strings.SplitSeq(strings.TrimSpace(s), "\n") {
				if tag, ok := strings.CutPrefix(line, "Tag: "); ok {
					parsed, err := python.ParseTags(tag) // poetry-core does not expand them
					if err != nil {
						t.Error(err)
					}
					for _, x := range parsed {
						list = append(list, x.String())
					}
				} else if line != "" && !strings.HasPrefix(line, "Generator:") {
					list = append(list, line)
				}
			}
			slices.Sort(list)
			return list
		}
		diff(t, name, tags(want), tags(got))
	case path.Base(name) == "entry_points.txt":
		diff(t, name, pointsOf(want), pointsOf(got))
	case path.Base(name) != "RECORD":
		diff(t, name, want, got)
	}
}

// compareEditable compares metadata, and the directories that are led to. The
// finder that setuptools leaves for some layouts is not compared.
func compareEditable(t *testing.T, want, got built, top string) {
	t.Helper()
	// setuptools gives it a build tag, which is lost when it is installed.
	if name := strings.Replace(want.filename, "-0.editable-", "-", 1); name != got.filename {
		t.Errorf("file name: %s, the back-end's is %s", got.filename, want.filename)
	}
	finder := false
	for name := range want.files {
		finder = finder || strings.HasPrefix(name, "__editable___") && strings.HasSuffix(name, "_finder.py")
	}
	for name, text := range want.files {
		mine, ok := got.files[name]
		switch {
		case finder && !strings.Contains(name, ".dist-info/"):
		case strings.HasSuffix(name, ".pth"):
			lines := strings.Fields(strings.ReplaceAll(text, top, "/app"))
			for i := range lines {
				lines[i] = strings.TrimSuffix(lines[i], "/")
			}
			slices.Sort(lines)
			if !ok {
				t.Errorf("there is no %s: %v", name, keys(got))
			}
			diff(t, name, lines, strings.Fields(mine))
		case !ok:
			t.Errorf("editable: there is no %s: %v", name, keys(got))
		default:
			compareFile(t, name, text, mine)
		}
	}
}

func diff(t *testing.T, what string, want, got any) {
	t.Helper()
	if d := gocmp.Diff(want, got); d != "" {
		t.Errorf("%s: (-the back-end's, +ours)\n%s", what, d)
	}
}

func keys(w built) []string {
	var list []string
	for name := range w.files {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

// fieldsOf returns the headers of METADATA in a comparable spelling, sorted.
func fieldsOf(text string) []string {
	head, _, _ := strings.Cut(text, "\n\n")
	var fields []string
	for line := range strings.SplitSeq(head, "\n") {
		if strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t") {
			if s := strings.TrimSpace(line); s != "" {
				fields[len(fields)-1] += "\n" + s
			}
			continue
		}
		fields = append(fields, strings.TrimSpace(line))
	}
	for i, f := range fields {
		name, value, _ := strings.Cut(f, ":")
		value = strings.TrimSpace(value)
		switch name {
		case "Version":
			v, err := python.ParseVersion(value)
			if err == nil {
				value = v.String()
			}
		case "Requires-Python":
			if s, err := python.ParseSpecifiers(value); err == nil {
				value = interval(s)
			}
		case "Provides-Extra":
			value = python.NormalizeExtra(value)
		case "Keywords":
			words := strings.Split(value, ",")
			slices.Sort(words)
			value = strings.Join(words, ",")
		}
		fields[i] = name + ": " + value
	}
	slices.Sort(fields)
	return slices.DeleteFunc(fields, func(f string) bool {
		return strings.HasPrefix(f, "Requires-Dist: ") || strings.HasSuffix(f, ": ") && f != "Import-Name: "
	})
}

// interval writes specifiers so that sets that are written differently and mean
// the same are alike: "~=1.2" and ">=1.2,<2.0".
func interval(s python.Specifiers) string {
	var parts []string
	for _, c := range s {
		lo, hi, negate, ok := c.Bounds()
		switch {
		case !ok || negate:
			parts = append(parts, c.String())
		default:
			if lo != "" {
				parts = append(parts, ">="+lo)
			}
			if hi != "" {
				parts = append(parts, "<"+hi)
			}
		}
	}
	slices.Sort(parts)
	return fmt.Sprintf("%q", parts)
}

// requirementsOf returns what METADATA requires in a number of environments,
// with and without each extra: markers are compared by what they do.
func requirementsOf(t *testing.T, text string) map[string][]string {
	t.Helper()
	m, err := python.ParseMetadata([]byte(text))
	if err != nil {
		t.Error(err)
	}
	all := map[string][]string{}
	for _, version := range []string{"3.8", "3.9", "3.10", "3.11", "3.12", "3.13"} {
		for _, platform := range []string{"linux", "win32"} {
			for _, extra := range append([]string{""}, m.ProvidesExtra...) {
				env := python.Environment{PythonVersion: version, PythonFullVersion: version + ".1", SysPlatform: platform, OSName: "posix",
					ImplementationName: "cpython", ImplementationVersion: version + ".1", PlatformPythonImplementation: "CPython"}
				if platform == "win32" {
					env.OSName = "nt"
				}
				var list []string
				for _, r := range m.RequiresDist {
					if r.Marker.Evaluate(env, python.NormalizeExtra(extra)) {
						list = append(list, fmt.Sprint(r.Key(), r.ExtraKeys(), interval(r.Specifiers), r.URL))
					}
				}
				slices.Sort(list)
				all[version+" "+platform+" "+python.NormalizeExtra(extra)] = list
			}
		}
	}
	return all
}

func descriptionOf(text string) string {
	_, body, _ := strings.Cut(text, "\n\n")
	return strings.TrimSpace(body)
}

// pointsOf returns the entry points as group, name and object.
func pointsOf(text string) []string {
	var points []string
	group := ""
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			group = line
		} else if name, object, ok := strings.Cut(line, "="); ok {
			points = append(points, fmt.Sprint(group, strings.TrimSpace(name), "=", strings.TrimSpace(object)))
		}
	}
	slices.SortFunc(points, cmp.Compare[string])
	return points
}
