package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/moby/buildkit/util/suggest"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// flagError says what is wrong with a flag in this program's words.
func flagError(cmd *cobra.Command, err error) error {
	see := "see " + cmd.CommandPath() + " --help"
	wrong := func(format string, args ...any) *usageError {
		return &usageError{text: about(cmd) + fmt.Sprintf(format, args...), hint: see}
	}
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) {
		if letters := unknown.GetSpecifiedShortnames(); letters != "" {
			return wrong("there is no flag -%s", unknown.GetSpecifiedName())
		}
		e := wrong("there is no flag --%s", unknown.GetSpecifiedName())
		var flags []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { flags = append(flags, f.Name) })
		if near := nearest(unknown.GetSpecifiedName(), flags); near != "" {
			e.hint = "did you mean --" + near + "?"
		}
		return e
	}
	var invalid *pflag.InvalidValueError
	if errors.As(err, &invalid) {
		f := invalid.GetFlag()
		return wrong("--%s is %q, not %s", f.Name, invalid.GetValue(), kindOf(f))
	}
	var missing *pflag.ValueRequiredError
	if errors.As(err, &missing) {
		return wrong("--%s needs a value", missing.GetFlag().Name)
	}
	return wrong("%v", err)
}

// about begins a message with the command that it is about.
func about(cmd *cobra.Command) string {
	if !cmd.HasParent() {
		return ""
	}
	return strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()+" ") + ": "
}

// kindOf says what values a flag takes.
func kindOf(f *pflag.Flag) string {
	switch f.Value.Type() {
	case "bool":
		return "true or false"
	case "duration":
		return "a duration such as 90s or 15m"
	}
	return "a " + f.Value.Type()
}

// arguments checks how many arguments a command is given.
func arguments(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		use := "usage: " + strings.TrimSuffix(cmd.UseLine(), " [flags]")
		switch {
		case len(args) < least:
			return &usageError{text: about(cmd) + "an argument is missing", hint: use}
		case len(args) > most:
			return &usageError{text: fmt.Sprintf("%s%q is one argument too many", about(cmd), args[most]), hint: use}
		}
		return nil
	}
}

// helpOrUnknown is what the program does without a command that it knows.
func helpOrUnknown(root *cobra.Command, args []string) error {
	if len(args) == 0 {
		return root.Help()
	}
	var names []string
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	return &usageError{text: fmt.Sprintf("there is no command %q", args[0]), hint: didYouMean(args[0], names, "commands: ")}
}

// didYouMean names the known word nearest to what was written, or all of them.
func didYouMean(got string, known []string, all string) string {
	if near := nearest(got, known); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return all + strings.Join(slices.Sorted(slices.Values(known)), ", ")
}

// nearest is the known word that was most likely meant, "" if none is near.
func nearest(got string, known []string) string {
	near, _ := suggest.Search(got, known, true)
	return near
}
