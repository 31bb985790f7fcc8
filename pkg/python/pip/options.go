package pip

import (
	"fmt"
	"iter"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/boyabuild/boyabuild/pkg/python"
)

// option is one option of a command line. With neither flag nor value nor
// refuse it is harmless: understood, and without a meaning here.
type option struct {
	long  []string // without "--"
	short byte     // 0 for none
	arg   bool     // takes a value
	// general options may stand before the command: `pip -q install`.
	general bool
	// flag and value carry the option out.
	flag  func(in *Install, on Setting[bool])
	value func(in *Install, v Setting[string]) error
	// refuse says why the option cannot be had: "… would write outside".
	refuse string

	// list options take several values in a configuration, split at white space.
	list bool
	// adds says that a list goes on across sections of a configuration, where
	// others start anew.
	adds bool
	// inverted options mean the opposite in a configuration: pip stores
	// "no-compile = false" as "compile: false".
	inverted bool
	// network options are about how this machine reaches an index: a command
	// line in an image has no say in them, this machine's configuration has.
	network bool
}

// name is the option's name in messages.
func (o *option) name() string { return "--" + o.long[0] }

// optionSet is the options of one tool.
type optionSet struct {
	options []option
	// abbreviated options are understood as Python's optparse does.
	abbreviated bool
}

// find returns the option of a long name, or of a prefix that only one has.
func (s *optionSet) find(name string) (*option, string) {
	var found []*option
	for i := range s.options {
		o := &s.options[i]
		for _, long := range o.long {
			if long == name {
				return o, ""
			}
			if s.abbreviated && strings.HasPrefix(long, name) && !slices.Contains(found, o) {
				found = append(found, o)
			}
		}
	}
	switch len(found) {
	case 0:
		return nil, "is an option that is not known"
	case 1:
		return found[0], ""
	}
	return nil, fmt.Sprintf("could be %s or %s", found[0].name(), found[1].name())
}

func (s *optionSet) findShort(c byte) *option {
	for i := range s.options {
		if s.options[i].short == c {
			return &s.options[i]
		}
	}
	return nil
}

// arguments is the state of reading one command's words.
type arguments struct {
	set  *optionSet
	in   *Install
	rest []string
	// command stops at the first word that is no option, and takes only general
	// options before it.
	command bool
	seen    map[string]bool // options, by their first long name
}

// parse reads words into in. It returns the words from the first that is no
// option on where command is set, else none.
func (a *arguments) parse(args []string) ([]string, error) {
	a.rest = args
	a.seen = map[string]bool{}
	for len(a.rest) > 0 {
		word := a.rest[0]
		if a.command && (word == "-" || !strings.HasPrefix(word, "-")) {
			return a.rest, nil
		}
		a.rest = a.rest[1:]
		var err error
		switch {
		case word == "--":
			for _, w := range a.rest {
				if err := a.in.add(w); err != nil {
					return nil, err
				}
			}
			return nil, nil
		case strings.HasPrefix(word, "--"):
			err = a.long(word)
		case strings.HasPrefix(word, "-") && word != "-":
			err = a.short(word)
		default:
			err = a.in.add(word)
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func (a *arguments) long(word string) error {
	name, value, joined := strings.Cut(word[2:], "=")
	o, problem := a.set.find(name)
	switch {
	case o == nil:
		return &WordError{Word: "--" + name, Reason: problem}
	case o.arg && !joined:
		var err error
		if value, err = a.next(word); err != nil {
			return err
		}
	case !o.arg && joined:
		return &WordError{Word: word, Reason: "has a value, and takes none"}
	}
	return a.apply(o, word, value)
}

// short reads bundled one-letter options: -qU, -rfile, -qr file.
func (a *arguments) short(word string) error {
	for i := 1; i < len(word); i++ {
		o := a.set.findShort(word[i])
		if o == nil {
			return &WordError{Word: word, Reason: "is an option that is not known"}
		}
		if !o.arg {
			if err := a.apply(o, word, ""); err != nil {
				return err
			}
			continue
		}
		value := word[i+1:]
		if value == "" {
			var err error
			if value, err = a.next(word); err != nil {
				return err
			}
		}
		return a.apply(o, word, value)
	}
	return nil
}

func (a *arguments) next(word string) (string, error) {
	if len(a.rest) == 0 {
		return "", &WordError{Word: word, Reason: "has no value"}
	}
	v := a.rest[0]
	a.rest = a.rest[1:]
	return v, nil
}

func (a *arguments) apply(o *option, word, value string) error {
	if a.command && !o.general {
		return &WordError{Word: word, Reason: "stands before the command"}
	}
	a.seen[o.long[0]] = true
	switch {
	case o.refuse != "":
		return &WordError{Word: word, Reason: o.refuse}
	case o.network || o.flag == nil && o.value == nil:
		shown := word
		if o.arg && !strings.HasSuffix(word, value) {
			shown += " " + value
		}
		if o.network {
			shown = o.name() // a proxy's URL may hold a password
		}
		if !slices.Contains(a.in.Harmless, shown) {
			a.in.Harmless = append(a.in.Harmless, shown)
		}
	case o.flag != nil:
		o.flag(a.in, Setting[bool]{true, o.name()})
	default:
		if err := o.value(a.in, Setting[string]{value, o.name()}); err != nil {
			return &WordError{Word: o.name(), Reason: "has a wrong value", Err: err}
		}
	}
	return nil
}

// configured is one value of a configuration, with its place for messages.
type configured struct {
	key, value string
	file       string // or variable
	line       int
}

func (c configured) source() string {
	if c.line > 0 {
		return fmt.Sprintf("%s:%d", c.file, c.line)
	}
	return c.file
}

// configure sets what a configuration says, in its order, as defaults for the
// options of a command line. Keys that are no option are skipped, as pip does
// it. Of this machine's configuration (host) only index settings are asked for,
// so that options which cannot be had do not matter.
func (s *optionSet) configure(in *Install, values []configured, host bool) error {
	last := map[*option]int{}
	for i, v := range values {
		if o := s.exact(v.key); o != nil {
			last[o] = i
		}
	}
	for i, v := range values {
		o := s.exact(v.key)
		if o == nil || (i != last[o] && !o.adds) {
			continue
		}
		if o.refuse != "" && !host {
			return &ConfigError{File: v.file, Line: v.line, Reason: fmt.Sprintf("%s %s", v.key, o.refuse)}
		}
		if err := o.configure(in, v, host); err != nil {
			return err
		}
	}
	return nil
}

// exact returns the option of a configuration's key, which is never abbreviated.
func (s *optionSet) exact(key string) *option {
	for i := range s.options {
		if slices.Contains(s.options[i].long, key) {
			return &s.options[i]
		}
	}
	return nil
}

func (o *option) configure(in *Install, v configured, host bool) error {
	wrong := func(reason string, err error) error {
		return &ConfigError{File: v.file, Line: v.line, Reason: v.key + " " + reason, Err: err}
	}
	switch {
	case o.network && !host, o.flag == nil && o.value == nil:
		return nil
	case o.flag != nil:
		on, ok := parseBool(v.value)
		if !ok {
			return wrong(fmt.Sprintf("is %q, which is neither yes nor no", v.value), nil)
		}
		o.flag(in, Setting[bool]{on != o.inverted, v.source()})
		return nil
	}
	values := []string{v.value}
	if o.list {
		values = strings.Fields(v.value)
	}
	for _, value := range values {
		if err := o.value(in, Setting[string]{value, v.source()}); err != nil {
			return wrong("has a wrong value", err)
		}
	}
	return nil
}

// parseBool reads the words that pip and uv take for yes and no.
func parseBool(s string) (on, ok bool) {
	switch strings.ToLower(s) {
	case "y", "yes", "t", "true", "on", "1":
		return true, true
	case "n", "no", "f", "false", "off", "0":
		return false, true
	}
	return false, false
}

// add takes one word that is no option: a requirement, a path or a URL, told
// apart as pip does it.
func (in *Install) add(word string) error {
	before, _, _ := strings.Cut(word, ";") // what follows is a marker
	switch {
	case regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*\s*(\[[^\]]*\])?\s*@`).MatchString(word):
		return in.addRequirement(word)
	case regexp.MustCompile(`^([A-Za-z][A-Za-z0-9+.-]*://|file:|(git|hg|svn|bzr)\+)`).MatchString(word):
		in.URLs = append(in.URLs, word)
	case strings.HasPrefix(before, ".") || strings.Contains(before, "/") || isArchive(before):
		in.Paths = append(in.Paths, word)
	default:
		return in.addRequirement(word)
	}
	return nil
}

func (in *Install) addRequirement(word string) error {
	if _, err := python.ParseRequirement(word); err != nil {
		return &WordError{Word: word, Reason: "is no requirement", Err: err}
	}
	in.Requirements = append(in.Requirements, word)
	return nil
}

// isArchive reports names of wheels and source archives, extras after them
// left aside.
func isArchive(word string) bool {
	if i := strings.LastIndexByte(word, '['); i > 0 && strings.HasSuffix(word, "]") {
		word = word[:i]
	}
	word = strings.ToLower(path.Base(strings.TrimSpace(word)))
	for _, ext := range []string{".whl", ".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz", ".tar.xz", ".txz", ".tlz", ".tar.lz", ".tar.lzma"} {
		if strings.HasSuffix(word, ext) {
			return true
		}
	}
	return false
}

// The functions below make the actions that several options share.

func setFlag(at func(*Install) *bool, to bool) func(*Install, Setting[bool]) {
	return func(in *Install, on Setting[bool]) { *at(in) = on.Value == to }
}

func setSwitch(at func(*Config) *Setting[bool]) func(*Install, Setting[bool]) {
	return func(in *Install, on Setting[bool]) { *at(&in.Config) = on }
}

func setText(at func(*Install) *string) func(*Install, Setting[string]) error {
	return func(in *Install, v Setting[string]) error {
		*at(in) = v.Value
		return nil
	}
}

func setSetting(at func(*Config) *Setting[string]) func(*Install, Setting[string]) error {
	return func(in *Install, v Setting[string]) error {
		*at(&in.Config) = v
		return nil
	}
}

func addText(at func(*Install) *[]string) func(*Install, Setting[string]) error {
	return func(in *Install, v Setting[string]) error {
		*at(in) = append(*at(in), v.Value)
		return nil
	}
}

func addSetting(at func(*Config) *[]Setting[string]) func(*Install, Setting[string]) error {
	return func(in *Install, v Setting[string]) error {
		*at(&in.Config) = append(*at(&in.Config), v)
		return nil
	}
}

func setDefaultIndex(in *Install, v Setting[string]) error {
	x, err := newIndex(v)
	if err == nil {
		in.Config.Default = x
	}
	return err
}

func addIndex(in *Install, v Setting[string]) error {
	x, err := newIndex(v)
	if err == nil {
		in.Config.Extra = append(in.Config.Extra, x)
	}
	return err
}

// newIndex reads an index's URL, or uv's NAME=URL. A directory is one, too.
func newIndex(v Setting[string]) (Index, error) {
	x := Index{URL: v.Value, Source: v.Source}
	if name, rest, ok := strings.Cut(v.Value, "="); ok && regexp.MustCompile(`^[A-Za-z0-9._-]+$`).MatchString(name) {
		x.Name, x.URL = name, rest
	}
	return x, checkURL(x.URL)
}

// checkURL refuses what cannot be an index's URL. The text stays out of the
// message: it may hold a password.
func checkURL(s string) error {
	u, err := url.Parse(s)
	switch {
	case s == "":
		return fmt.Errorf("the URL is empty")
	case err != nil:
		return fmt.Errorf("the URL is not valid")
	case (u.Scheme == "http" || u.Scheme == "https") && u.Host == "":
		return fmt.Errorf("the URL names no host")
	case u.Scheme != "" && u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "file":
		return fmt.Errorf("the scheme %q is none of http, https and file", u.Scheme)
	}
	return nil
}

func setTimeout(in *Install, v Setting[string]) error {
	seconds, err := strconv.ParseFloat(v.Value, 64)
	if err != nil || !(seconds > 0) || seconds > 1e6 {
		return fmt.Errorf("%q is no number of seconds", v.Value)
	}
	in.Config.Timeout = Setting[time.Duration]{time.Duration(seconds * float64(time.Second)), v.Source}
	return nil
}

func setRetries(in *Install, v Setting[string]) error {
	n, err := strconv.Atoi(v.Value)
	if err != nil || n < 0 {
		return fmt.Errorf("%q is no number of tries", v.Value)
	}
	in.Config.Retries = Setting[int]{n, v.Source}
	return nil
}

// setExcludeNewer reads a time as RFC 3339 has it, or a date, which begins (pip)
// or ends (uv) the time that counts; dates are in UTC here, so that a build does
// not depend on the machine's zone.
func setExcludeNewer(dateEnds bool) func(*Install, Setting[string]) error {
	return func(in *Install, v Setting[string]) error {
		t, err := time.Parse(time.RFC3339, v.Value)
		if err != nil {
			if t, err = time.Parse(time.DateOnly, v.Value); err != nil {
				return fmt.Errorf("%q is neither a date nor a time such as 2026-01-31T00:00:00Z", v.Value)
			}
			if dateEnds {
				t = t.AddDate(0, 0, 1)
			}
		}
		in.Config.ExcludeNewer = Setting[time.Time]{t, v.Source}
		return nil
	}
}

func setFormats(no bool) func(*Install, Setting[string]) error {
	return func(in *Install, v Setting[string]) error {
		if strings.TrimSpace(v.Value) == "" || strings.HasPrefix(v.Value, "-") {
			return fmt.Errorf("%q is no package name", v.Value)
		}
		c := &in.Config
		if no {
			restrict(v.Value, &c.NoBinary, &c.OnlyBinary)
		} else {
			restrict(v.Value, &c.OnlyBinary, &c.NoBinary)
		}
		return nil
	}
}

// oneOf makes an action that takes some values without a meaning here and
// refuses others.
func oneOf(words ...string) func(*Install, Setting[string]) error {
	return func(in *Install, v Setting[string]) error {
		if !slices.Contains(words, v.Value) {
			return fmt.Errorf("%q is not known here; known: %s", v.Value, strings.Join(words, ", "))
		}
		in.Harmless = append(in.Harmless, v.Source+" "+v.Value)
		return nil
	}
}

// splitComma gives the parts of s between commas, without white space or empty
// ones.
func splitComma(s string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for part := range strings.SplitSeq(s, ",") {
			if part = strings.TrimSpace(part); part != "" && !yield(part) {
				return
			}
		}
	}
}
