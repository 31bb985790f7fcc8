package pip

import (
	"fmt"
	"iter"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The functions below make the actions that several options share.

func setFlag[T subject](at func(T) *bool, to bool) func(T, Setting[bool]) {
	return func(in T, on Setting[bool]) { *at(in) = on.Value == to }
}

func setSwitch[T subject](at func(*Config) *Setting[bool]) func(T, Setting[bool]) {
	return func(in T, on Setting[bool]) { *at(in.config()) = on }
}

func setText[T subject](at func(T) *string) func(T, Setting[string]) error {
	return func(in T, v Setting[string]) error {
		*at(in) = v.Value
		return nil
	}
}

func setSetting[T subject](at func(*Config) *Setting[string]) func(T, Setting[string]) error {
	return func(in T, v Setting[string]) error {
		*at(in.config()) = v
		return nil
	}
}

func addText[T subject](at func(T) *[]string) func(T, Setting[string]) error {
	return func(in T, v Setting[string]) error {
		*at(in) = append(*at(in), v.Value)
		return nil
	}
}

func addSetting[T subject](at func(*Config) *[]Setting[string]) func(T, Setting[string]) error {
	return func(in T, v Setting[string]) error {
		*at(in.config()) = append(*at(in.config()), v)
		return nil
	}
}

func setDefaultIndex[T subject](in T, v Setting[string]) error {
	x, err := newIndex(v)
	if err == nil {
		in.config().Default = x
	}
	return err
}

func addIndex[T subject](in T, v Setting[string]) error {
	x, err := newIndex(v)
	if err == nil {
		in.config().Extra = append(in.config().Extra, x)
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

func setTimeout[T subject](in T, v Setting[string]) error {
	seconds, err := strconv.ParseFloat(v.Value, 64)
	if err != nil || !(seconds > 0) || seconds > 1e6 {
		return fmt.Errorf("%q is no number of seconds", v.Value)
	}
	in.config().Timeout = Setting[time.Duration]{time.Duration(seconds * float64(time.Second)), v.Source}
	return nil
}

func setRetries[T subject](in T, v Setting[string]) error {
	n, err := strconv.Atoi(v.Value)
	if err != nil || n < 0 {
		return fmt.Errorf("%q is no number of tries", v.Value)
	}
	in.config().Retries = Setting[int]{n, v.Source}
	return nil
}

// setExcludeNewer reads a time (ParseNewer); a date begins (pip) or ends (uv) the
// time that counts.
func setExcludeNewer[T subject](dateEnds bool) func(T, Setting[string]) error {
	return func(in T, v Setting[string]) error {
		t, err := ParseNewer(v.Value, dateEnds, time.Now())
		if err != nil {
			return err
		}
		in.config().ExcludeNewer = Setting[time.Time]{t, v.Source}
		return nil
	}
}

func setFormats[T subject](no bool) func(T, Setting[string]) error {
	return func(in T, v Setting[string]) error {
		if strings.TrimSpace(v.Value) == "" || strings.HasPrefix(v.Value, "-") {
			return fmt.Errorf("%q is no package name", v.Value)
		}
		c := in.config()
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
func oneOf[T subject](words ...string) func(T, Setting[string]) error {
	return func(in T, v Setting[string]) error {
		if !slices.Contains(words, v.Value) {
			return fmt.Errorf("%q is not known here; known: %s", v.Value, strings.Join(words, ", "))
		}
		in.understood(v.Source + " " + v.Value)
		return nil
	}
}

// setKeyring takes the names of ways to a keyring.
func setKeyring[T subject](words ...string) func(T, Setting[string]) error {
	return func(in T, v Setting[string]) error {
		if !slices.Contains(words, v.Value) {
			return fmt.Errorf("%q is not known here; known: %s", v.Value, strings.Join(words, ", "))
		}
		in.config().KeyringProvider = v
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
