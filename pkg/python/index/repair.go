package index

import (
	"regexp"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/python"
)

// repairs are the kinds of specifiers in old uploads that no rule ever allowed,
// but whose meaning nobody doubts; pip took them for years.
var repairs = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`=>`), ">="},                                      // =>1.0
	{regexp.MustCompile(`!=~\s*([0-9][0-9.]*)`), "!=$1.*"},                // !=~1.0
	{regexp.MustCompile(`>\s*dev\b\s*,?`), ""},                            // >dev: whatever is a version sorted after that
	{regexp.MustCompile(`([<>=]\s*)['"]+(\s*[0-9])`), "$1$2"},             // >='1.0': a quote
	{regexp.MustCompile(`([0-9*]\s*)['"]+(\s*(?:[,;)<>=!~]|$))`), "$1$2"}, // >=1.0': a stray one
	{regexp.MustCompile(`((?:>=|<=|>|<|~=)\s*[0-9][0-9.]*)\.\*`), "$1"},   // >=3.6.* means >=3.6
	{regexp.MustCompile(comparedVersion + `\s*([<>=!~]=|[<>])`), "$1,$2"}, // >=1.0 <2, >=1.0<2: no comma
	{regexp.MustCompile(`,\s*(\)|;|$)`), "$1"},                            // (>=1.0,): a comma too many
}

const comparedVersion = `((?:[<>=!~]=|[<>])\s*(?:[0-9]+!)?[0-9][0-9A-Za-z.*+_-]*)`

func repairSpecifiers(text string) string {
	for _, r := range repairs {
		for range 100 { // one match may begin in another
			repaired := r.pattern.ReplaceAllString(text, r.with)
			if repaired == text {
				break
			}
			text = repaired
		}
	}
	return text
}

// repairMetadata repairs the fields that cannot be parsed as they are: the
// specifiers of Requires-Dist, never its marker, and Requires-Python, which is
// left out if it cannot be understood at all (pip ignores it too).
func repairMetadata(text []byte) []byte {
	var out []string
	for _, line := range strings.Split(string(text), "\n") {
		field, value, _ := strings.Cut(line, ":")
		switch {
		case strings.EqualFold(field, "Requires-Dist"):
			if _, err := python.ParseRequirement(strings.TrimSpace(value)); err != nil {
				value, marker, marked := strings.Cut(value, ";")
				line = field + ":" + repairSpecifiers(value)
				if marked {
					line += ";" + marker
				}
			}
		case strings.EqualFold(field, "Requires-Python"):
			if _, err := python.ParseSpecifiers(strings.TrimSpace(value)); err != nil {
				value = repairSpecifiers(value)
				if _, err := python.ParseSpecifiers(strings.TrimSpace(value)); err != nil {
					continue
				}
				line = field + ":" + value
			}
		}
		out = append(out, line)
	}
	return []byte(strings.Join(out, "\n"))
}
