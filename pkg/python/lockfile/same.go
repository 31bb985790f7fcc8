package lockfile

import (
	"fmt"
	"regexp"
	"slices"

	"github.com/boyabuild/boyabuild/pkg/python"
)

// sameMarker reports whether two markers hold in the same environments, of
// those with a Python within a set. Tools write a marker in another form than
// the user did ("python_version < '3.12'" as "python_full_version < '3.12'",
// platform_system as sys_platform), so the texts say nothing. A marker can only
// change at the texts that it compares with: it is enough to evaluate both at
// these, beside them, and at what neither names.
func sameMarker(a, b python.Marker, within python.Specifiers) bool {
	if a.Equal(b) {
		return true
	}
	values := literals(a.String() + " ; " + b.String())
	environments := samples(values, within)
	if environments == nil {
		return false
	}
	extras := append([]string{""}, values["extra"]...)
	for _, env := range environments {
		for _, x := range extras {
			if a.Evaluate(env, x) != b.Evaluate(env, x) {
				return false
			}
		}
	}
	return true
}

// comparisons in a marker as python.Marker writes it.
var comparedWith = regexp.MustCompile(`([a-z_]+) (?:[<>=!~]+|in|not in) (?:"([^"]*)"|'([^']*)')|(?:"([^"]*)"|'([^']*)') (?:[<>=!~]+|in|not in) ([a-z_]+)`)

// literals are the texts that each variable is compared with.
func literals(text string) map[string][]string {
	m := map[string][]string{}
	for _, c := range comparedWith.FindAllStringSubmatch(text, -1) {
		variable, value := c[1]+c[6], c[2]+c[3]+c[4]+c[5]
		if !slices.Contains(m[variable], value) {
			m[variable] = append(m[variable], value)
		}
	}
	return m
}

// maxSamples bounds the environments that markers are compared in.
const maxSamples = 100_000

// samples are environments of all combinations that may matter; nil when these
// are too many.
func samples(values map[string][]string, within python.Specifiers) []python.Environment {
	list := []python.Environment{{}}
	vary := func(n int, set func(e *python.Environment, i int)) {
		if list == nil || n*len(list) > maxSamples {
			list = nil
			return
		}
		var next []python.Environment
		for _, e := range list {
			for i := range n {
				with := e
				set(&with, i)
				next = append(next, with)
			}
		}
		list = next
	}
	pythons := samplePythons(values, within)
	vary(len(pythons), func(e *python.Environment, i int) {
		v := pythons[i]
		e.PythonFullVersion, e.ImplementationVersion = v.String(), v.String()
		e.PythonVersion = fmt.Sprintf("%d.%d", v.Number(0), v.Number(1))
	})
	platforms := samplePlatforms(values)
	vary(len(platforms), func(e *python.Environment, i int) {
		e.SysPlatform, e.PlatformSystem, e.OSName = platforms[i][0], platforms[i][1], platforms[i][2]
	})
	implementations := sampleImplementations(values)
	vary(len(implementations), func(e *python.Environment, i int) {
		e.ImplementationName, e.PlatformPythonImplementation = implementations[i][0], implementations[i][1]
	})
	for variable, field := range map[string]func(*python.Environment) *string{
		"platform_machine": func(e *python.Environment) *string { return &e.PlatformMachine },
		"platform_release": func(e *python.Environment) *string { return &e.PlatformRelease },
		"platform_version": func(e *python.Environment) *string { return &e.PlatformVersion },
	} {
		all := append([]string{"0other"}, values[variable]...)
		vary(len(all), func(e *python.Environment, i int) { *field(e) = all[i] })
	}
	return list
}

// samplePlatforms are values of sys_platform, platform_system and os_name that go
// together.
func samplePlatforms(values map[string][]string) [][3]string {
	list := [][3]string{{"linux", "Linux", "posix"}}
	if values["sys_platform"] == nil && values["platform_system"] == nil && values["os_name"] == nil {
		return list
	}
	list = append(list, [3]string{"darwin", "Darwin", "posix"}, [3]string{"win32", "Windows", "nt"})
	for column, variable := range []string{"sys_platform", "platform_system", "os_name"} {
		for _, p := range values[variable] {
			if !slices.ContainsFunc(list, func(known [3]string) bool { return known[column] == p }) {
				other := [3]string{"other", "Other", "posix"}
				other[column] = p
				list = append(list, other)
			}
		}
	}
	return list
}

// sampleImplementations are values of implementation_name and
// platform_python_implementation that go together.
func sampleImplementations(values map[string][]string) [][2]string {
	list := [][2]string{{"cpython", "CPython"}}
	if values["implementation_name"] == nil && values["platform_python_implementation"] == nil {
		return list
	}
	list = append(list, [2]string{"pypy", "PyPy"}, [2]string{"other", "Other"})
	for column, variable := range []string{"implementation_name", "platform_python_implementation"} {
		for _, n := range values[variable] {
			if !slices.ContainsFunc(list, func(known [2]string) bool { return known[column] == n }) {
				list = append(list, [2]string{n, n})
			}
		}
	}
	return list
}

// samplePythons are the versions of Python that markers are compared at: each
// minor version, at its first and a late patch, and those that are named with
// the ones beside them.
func samplePythons(values map[string][]string, within python.Specifiers) []python.Version {
	var texts []string
	named := slices.Concat(values["python_version"], values["python_full_version"], values["implementation_version"])
	if len(named) == 0 {
		v, err := python.ParseVersion("3.12.1")
		if err != nil {
			return nil
		}
		return []python.Version{v}
	}
	for minor := range 25 {
		texts = append(texts, fmt.Sprintf("3.%d.0", minor), fmt.Sprintf("3.%d.99", minor))
	}
	texts = append(texts, "2.7.18", "4.0.0")
	for _, n := range named {
		v, err := python.ParseVersion(n)
		if err != nil || v.Number(2) > 1000 {
			continue
		}
		for _, patch := range []int{v.Number(2) - 1, v.Number(2), v.Number(2) + 1} {
			if patch >= 0 {
				texts = append(texts, fmt.Sprintf("%d.%d.%d", v.Number(0), v.Number(1), patch))
			}
		}
	}
	var list []python.Version
	for _, t := range texts {
		if v, err := python.ParseVersion(t); err == nil && within.Contains(v) {
			list = append(list, v)
		}
	}
	return list
}
