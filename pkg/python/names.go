package python

import "strings"

// NormalizeName returns the normalized form of a project name: lower-case,
// every run of "-", "_" and "." a single "-" (PEP 503, "Normalized Names").
// It never fails: a name that is not valid is normalized all the same.
func NormalizeName(s string) string {
	if isNormalName(s) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	dash := false
	for _, r := range strings.ToLower(s) {
		if r == '-' || r == '_' || r == '.' {
			dash = true
			continue
		}
		if dash {
			b.WriteByte('-')
			dash = false
		}
		b.WriteRune(r)
	}
	if dash {
		b.WriteByte('-')
	}
	return b.String()
}

// NormalizeExtra returns the normalized form of an extra's name. The rule is
// the one of project names (PEP 685).
func NormalizeExtra(s string) string { return NormalizeName(s) }

// ValidName reports whether s is an identifier as projects and extras have it
// (PEP 508, "Names"): ASCII letters, digits, ".", "_" and "-", beginning and
// ending with a letter or a digit.
func ValidName(s string) bool {
	if s == "" || !isAlnum(s[0]) || !isAlnum(s[len(s)-1]) {
		return false
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; !isAlnum(c) && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// isNormalName reports whether NormalizeName(s) is s itself; it spares the
// common case an allocation.
func isNormalName(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', isDigit(c):
		case c == '-' && (i == 0 || s[i-1] != '-'):
		default:
			return false
		}
	}
	return true
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isAlnum(c byte) bool {
	return isDigit(c) || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
