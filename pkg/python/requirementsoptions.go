package python

import (
	"encoding/hex"
	"fmt"
	"path"
	"slices"
	"strings"
)

// fileOption is an option as requirements files have it.
type fileOption struct {
	name          string // the long one
	value         string
	takesValue    bool
	onRequirement bool // may stand behind a requirement
}

// knownOptions are pip's, in all their spellings.
var knownOptions = [...]struct {
	spellings     string
	takesValue    bool
	onRequirement bool
}{
	{"--index-url --pypi-url -i", true, false},
	{"--extra-index-url", true, false},
	{"--no-index", false, false},
	{"--find-links -f", true, false},
	{"--requirement -r", true, false},
	{"--constraint -c", true, false},
	{"--editable -e", true, false},
	{"--no-binary", true, true},
	{"--only-binary", true, true},
	{"--prefer-binary", false, false},
	{"--require-hashes", false, false},
	{"--no-require-hashes", false, false},
	{"--pre", false, false},
	{"--all-releases", true, true},
	{"--only-final", true, true},
	{"--trusted-host", true, false},
	{"--use-feature", true, false},
	{"--hash", true, true},
	{"--config-settings --config-setting -C", true, true},
	{"--global-option", true, true},
	{"--install-option", true, true},
}

// findOption finds an option by its spelling or, for long ones, by a beginning
// that only one of them has, as pip's parser does.
func findOption(spelling string) (fileOption, error) {
	var found []fileOption
	for _, k := range knownOptions {
		all := strings.Fields(k.spellings)
		o := fileOption{name: all[0], takesValue: k.takesValue, onRequirement: k.onRequirement}
		if slices.Contains(all, spelling) {
			return o, nil
		}
		if len(spelling) > 2 && strings.HasPrefix(spelling, "--") &&
			slices.ContainsFunc(all, func(s string) bool { return strings.HasPrefix(s, spelling) }) {
			found = append(found, o)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return fileOption{}, fmt.Errorf("unknown option %q", clip(redact(spelling), 80))
	}
	return fileOption{}, fmt.Errorf("ambiguous option %q: %s or %s", clip(spelling, 80), found[0].name, found[1].name)
}

// splitOptions separates a requirement from the options behind it. Options
// begin with the first word that begins with a dash; only they are quoted like
// words of a shell.
func splitOptions(line string) (requirement string, options []fileOption, err error) {
	begin := len(line)
	if strings.HasPrefix(line, "-") {
		begin = 0
	} else if i := strings.Index(line, " -"); i >= 0 {
		begin = i
	}
	words, err := splitWords(line[begin:])
	if err != nil {
		return "", nil, err
	}
	for len(words) > 0 {
		word := words[0]
		words = words[1:]
		var value string
		hasValue := false
		switch {
		case strings.HasPrefix(word, "--"):
			word, value, hasValue = strings.Cut(word, "=")
		case len(word) > 2 && word[0] == '-': // -rfile
			word, value, hasValue = word[:2], word[2:], true
		case len(word) < 2 || word[0] != '-':
			return "", nil, fmt.Errorf("unexpected %q behind the options", clip(redact(word), 80))
		}
		o, err := findOption(word)
		switch {
		case err != nil:
			return "", nil, err
		case hasValue && !o.takesValue:
			return "", nil, fmt.Errorf("%s takes no value", o.name)
		case o.takesValue && !hasValue:
			if len(words) > 0 && !strings.HasPrefix(words[0], "-") {
				value, words = words[0], words[1:]
			}
		}
		if o.takesValue && value == "" {
			return "", nil, fmt.Errorf("%s needs a value", o.name)
		}
		o.value = value
		options = append(options, o)
	}
	return trimSpace(line[:begin]), options, nil
}

// splitWords splits at white space outside of quotes, as a POSIX shell does.
func splitWords(s string) ([]string, error) {
	var words []string
	var word strings.Builder
	inWord := false
	quote := byte(0)
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\\' && quote != '\'':
			if i++; i == len(s) {
				return nil, fmt.Errorf("a backslash at the end escapes nothing")
			}
			if quote == '"' && s[i] != '"' && s[i] != '\\' {
				word.WriteByte('\\')
			}
			word.WriteByte(s[i])
			inWord = true
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word.WriteByte(c)
		case c == '"' || c == '\'':
			quote, inWord = c, true
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			if inWord {
				words = append(words, word.String())
				word.Reset()
			}
			inWord = false
		default:
			word.WriteByte(c)
			inWord = true
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("a quote is not closed")
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}

// apply does what an option says; r is the requirement that it stands behind.
func (f *RequirementsFile) apply(o fileOption, file string, r *FileRequirement) error {
	switch o.name {
	case "--index-url":
		if !f.NoIndex {
			f.IndexURL = o.value
		}
	case "--extra-index-url":
		if !f.NoIndex {
			f.ExtraIndexURLs = appendNew(f.ExtraIndexURLs, o.value)
		}
	case "--no-index":
		f.SetNoIndex()
	case "--find-links":
		link := o.value
		if !strings.Contains(link, ":") && !path.IsAbs(link) && !isURL(file) {
			link = path.Join(path.Dir(file), link)
			if f.LinksAsWritten == nil {
				f.LinksAsWritten = map[string]string{}
			}
			f.LinksAsWritten[link] = o.value
		}
		f.FindLinks = appendNew(f.FindLinks, link)
	case "--trusted-host":
		f.TrustedHosts = appendNew(f.TrustedHosts, o.value)
	case "--no-binary":
		f.AddNoBinary(o.value)
	case "--only-binary":
		f.AddOnlyBinary(o.value)
	case "--all-releases":
		f.AddAllReleases(o.value)
	case "--only-final":
		f.AddOnlyFinal(o.value)
	case "--prefer-binary":
		f.PreferBinary = true
	case "--pre":
		f.Pre = true
	case "--require-hashes", "--no-require-hashes":
		f.RequireHashes = f.RequireHashes || o.name == "--require-hashes"
		f.NoRequireHashes = f.NoRequireHashes || o.name == "--no-require-hashes"
		if f.RequireHashes && f.NoRequireHashes {
			return fmt.Errorf("--require-hashes and --no-require-hashes exclude each other")
		}
	case "--use-feature":
		f.UseFeatures = appendNew(f.UseFeatures, o.value)
	case "--hash":
		h, err := ParseHash(o.value)
		if err != nil {
			return err
		}
		r.Hashes = appendNew(r.Hashes, h)
	case "--config-settings":
		if !strings.Contains(o.value, "=") {
			return fmt.Errorf("--config-settings %s: is not KEY=VALUE", o.value)
		}
		r.ConfigSettings = append(r.ConfigSettings, o.value)
	default: // --global-option, --install-option
		return &hintedError{
			cause: o.name + " is for setup.py itself, which is not called",
			hint:  "remove the option, or say it to the build back-end by --config-settings",
		}
	}
	return nil
}

// ParseHash reads a hash as pip writes it, "sha256:hex", and returns it in
// lower-case. Only the algorithms that pip takes for safe are accepted:
// sha256, sha384 and sha512.
func ParseHash(s string) (string, error) {
	algorithm, digest, ok := strings.Cut(strings.ToLower(s), ":")
	size := hashSize(algorithm)
	switch {
	case !ok:
		return "", fmt.Errorf("hash %q is not ALGORITHM:HEX", clip(s, 80))
	case size == 0:
		return "", fmt.Errorf("hash algorithm %q is none of sha256, sha384, sha512", clip(algorithm, 40))
	case len(digest) != 2*size:
		return "", fmt.Errorf("%s hash %q has %d digits, not %d", algorithm, clip(digest, 160), len(digest), 2*size)
	}
	if _, err := hex.DecodeString(digest); err != nil {
		return "", fmt.Errorf("%s hash %q is not hexadecimal", algorithm, clip(digest, 160))
	}
	return algorithm + ":" + digest, nil
}

// hashSize returns the bytes of a hash; 0 for an algorithm that is not safe.
func hashSize(algorithm string) int {
	switch algorithm {
	case "sha256":
		return 32
	case "sha384":
		return 48
	case "sha512":
		return 64
	}
	return 0
}
