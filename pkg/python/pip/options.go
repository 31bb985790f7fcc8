package pip

import (
	"fmt"
	"slices"
	"strings"
)

// subject is what a command line's options describe.
type subject interface {
	*Install | *Sync | *Venv
	// config is where the index settings go.
	config() *Config
	// understood notes an option that changes nothing here.
	understood(option string)
}

// option is one option of a command line. With neither flag nor value nor
// refuse it is harmless: understood, and without a meaning here.
type option[T subject] struct {
	long  []string // without "--"
	short byte     // 0 for none
	arg   bool     // takes a value
	// general options may stand before the command: `pip -q install`.
	general bool
	// flag and value carry the option out.
	flag  func(in T, on Setting[bool])
	value func(in T, v Setting[string]) error
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
func (o *option[T]) name() string { return "--" + o.long[0] }

// optionSet is the options of one tool.
type optionSet[T subject] struct {
	options []option[T]
	// abbreviated options are understood as Python's optparse and argparse do it.
	abbreviated bool
	// assigned short options may be written -p=3.12.
	assigned bool
}

// find returns the option of a long name, or of a prefix that only one has.
func (s *optionSet[T]) find(name string) (*option[T], string) {
	var found []*option[T]
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

func (s *optionSet[T]) findShort(c byte) *option[T] {
	for i := range s.options {
		if s.options[i].short == c {
			return &s.options[i]
		}
	}
	return nil
}

// arguments is the state of reading one command's words.
type arguments[T subject] struct {
	set  *optionSet[T]
	in   T
	rest []string
	// command stops at the first word that is no option, and takes only general
	// options before it.
	command bool
	seen    map[string]bool // options, by their first long name
	// operand takes a word that is no option; nil: there are none.
	operand func(word string) error
}

// parse reads words into in. It returns the words from the first that is no
// option on where command is set, else none.
func (a *arguments[T]) parse(args []string) ([]string, error) {
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
				if err := a.add(w); err != nil {
					return nil, err
				}
			}
			return nil, nil
		case strings.HasPrefix(word, "--"):
			err = a.long(word)
		case strings.HasPrefix(word, "-") && word != "-":
			err = a.short(word)
		default:
			err = a.add(word)
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func (a *arguments[T]) add(word string) error {
	if a.operand == nil {
		return &WordError{Word: word, Reason: "is a word that is not understood here"}
	}
	return a.operand(word)
}

func (a *arguments[T]) long(word string) error {
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
func (a *arguments[T]) short(word string) error {
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
		if a.set.assigned {
			value = strings.TrimPrefix(value, "=")
		}
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

func (a *arguments[T]) next(word string) (string, error) {
	if len(a.rest) == 0 {
		return "", &WordError{Word: word, Reason: "has no value"}
	}
	v := a.rest[0]
	a.rest = a.rest[1:]
	return v, nil
}

// note remembers an option, and the flag that means the opposite.
func (a *arguments[T]) note(o *option[T]) {
	a.seen[o.long[0]] = true
	opposite, ok := strings.CutPrefix(o.long[0], "no-")
	if !ok {
		opposite = "no-" + opposite
	}
	if other := a.set.exact(opposite); other != nil && !o.arg && !other.arg {
		a.seen[other.long[0]] = true
	}
}

func (a *arguments[T]) apply(o *option[T], word, value string) error {
	if a.command && !o.general {
		return &WordError{Word: word, Reason: "stands before the command"}
	}
	a.note(o)
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
		a.in.understood(shown)
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
func (s *optionSet[T]) configure(in T, values []configured, host bool) error {
	last := map[*option[T]]int{}
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
		if on, ok := parseBool(v.value); o.refuse != "" && !host && (o.arg || !ok || on) {
			return &ConfigError{File: v.file, Line: v.line, Reason: fmt.Sprintf("%s %s", v.key, o.refuse)}
		}
		if err := o.configure(in, v, host); err != nil {
			return err
		}
	}
	return nil
}

// exact returns the option of a configuration's key, which is never abbreviated.
func (s *optionSet[T]) exact(key string) *option[T] {
	for i := range s.options {
		if slices.Contains(s.options[i].long, key) {
			return &s.options[i]
		}
	}
	return nil
}

func (o *option[T]) configure(in T, v configured, host bool) error {
	wrong := func(reason string, err error) error {
		return &ConfigError{File: v.file, Line: v.line, Reason: v.key + " " + reason, Err: err}
	}
	switch {
	case o.network && !host, o.flag == nil && o.value == nil:
		return nil // also what is refused and switched off
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
