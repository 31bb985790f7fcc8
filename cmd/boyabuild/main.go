// Boyabuild takes a Python web app from its source folder to a running service
// on AWS Fargate, with no Docker daemon anywhere.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/boyabuild/boyabuild/pkg/sandbox"
)

// Exit statuses, as docs/cli says.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2 // the command line, a configuration or an input file is wrong
	exitUnhealthy   = 3 // deployed but not healthy, or rolled back
	exitInterrupted = 130
)

// env is what the program takes from the machine.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string
	environ        func() []string
	host           fs.FS // the machine's files, for its apt sources
}

func main() {
	sandbox.Main() // never returns in a re-executed stage of the sandbox
	collectLate()
	os.Exit(run(os.Args[1:], &env{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv, environ: os.Environ, host: os.DirFS("/")}))
}

// collectLate lets a command make 24 MB of garbage before any of it is collected:
// most are over by then. Once that has happened, garbage is half of what is in
// use, not as much as that: a CI runner's memory counts for more than the few per
// cent of processor time that this costs.
func collectLate() {
	debug.SetGCPercent(600) // of 4 MB, where the heap is smaller than that
	first := new([64]byte)
	runtime.AddCleanup(first, func(percent int) { debug.SetGCPercent(percent) }, 50)
}

// run executes one command line and returns the exit status.
func run(args []string, e *env) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	started := false
	root := newRoot(e, &started)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	if ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, errInterrupted)) {
		if !errors.Is(err, errInterrupted) {
			fmt.Fprintln(e.stderr, "boyabuild: interrupted")
		}
		return exitInterrupted
	}
	printError(e.stderr, err)
	if !started { // cobra itself refused the command line
		return exitUsage
	}
	return exitStatus(err)
}

// errInterrupted ends a command that goes on until it is interrupted, such as
// following logs: the interruption is no failure to report.
var errInterrupted = errors.New("interrupted")

// usageError is a mistake on the command line or in the environment.
type usageError struct {
	text string
	hint string
}

func (e *usageError) Error() string { return e.text }
func (e *usageError) Hint() string  { return e.hint }

func usagef(format string, args ...any) error {
	return &usageError{text: fmt.Sprintf(format, args...)}
}

// exitStatus maps an error to the program's exit status: an error that has a
// place in an input file is the input's fault, and one that says that the
// service is not healthy is told apart from a failure to deploy.
func exitStatus(err error) int {
	var unhealthy interface{ Unhealthy() bool }
	var placed interface{ Position() (string, int) }
	var usage *usageError
	switch {
	case errors.As(err, &unhealthy) && unhealthy.Unhealthy():
		return exitUnhealthy
	case errors.As(err, &usage), errors.As(err, &placed):
		return exitUsage
	}
	return exitFailed
}

// printError writes an error on one line, and under it what the user can do.
func printError(w io.Writer, err error) {
	fmt.Fprintf(w, "boyabuild: %s\n", oneLine(err.Error()))
	var hinted interface{ Hint() string }
	switch {
	case errors.As(err, &hinted) && hinted.Hint() != "":
		fmt.Fprintf(w, "hint: %s\n", oneLine(hinted.Hint()))
	case errors.Is(err, syscall.ENOSPC):
		fmt.Fprintln(w, "hint: boyabuild cache info tells what the cache takes, boyabuild cache prune removes what no named image needs")
	}
}

func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' }), " ")
}

// globals are the flags of every command.
type globals struct {
	config   string
	progress string
	quiet    bool
	verbose  bool
}

func newRoot(e *env, started *bool) *cobra.Command {
	var g globals
	root := &cobra.Command{
		Use:   "boyabuild",
		Short: "From Python source to a running Fargate service, without Docker",
		Long: `Boyabuild builds a Python web app into an OCI image in process, pushes it under
an immutable tag and rolls it out on ECS. No Docker daemon anywhere.

Results go to stdout, everything else to stderr. Any flag can also be given as
an environment variable: --build-arg is BOYABUILD_BUILD_ARG. A flag beats the
environment, which beats boyabuild.yaml.

Exit status: 0 done, 1 failed, 2 the command line, a configuration or an input
file is wrong, 3 deployed but not healthy or rolled back, 130 interrupted.`,
		SilenceUsage:      true,
		SilenceErrors:     true,
		Version:           version(),
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		Args:              cobra.ArbitraryArgs,
		RunE:              helpOrUnknown,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := fromEnvironment(cmd, e); err != nil {
				return err
			}
			*started = true
			return nil
		},
	}
	root.SetFlagErrorFunc(flagError)
	root.SetOut(e.stdout)
	root.SetErr(e.stderr)
	root.SetVersionTemplate("boyabuild {{.Version}}\n")
	f := root.PersistentFlags()
	f.StringVar(&g.config, "config", "", "configuration `FILE` (default: boyabuild.yaml beside the context)")
	f.StringVar(&g.progress, "progress", "auto", "how to show progress: auto, tty, plain, json, none")
	f.BoolVarP(&g.quiet, "quiet", "q", false, "show nothing but errors (--progress none)")
	f.BoolVarP(&g.verbose, "verbose", "v", false, "show why each step ran or was re-used")
	root.AddCommand(buildCommand(e, &g), pushCommand(e, &g), lockCommand(e, &g), planCommand(e, &g), verifyCommand(e, &g), deployCommand(e, &g), upCommand(e, &g), localCommand(e, &g), cacheCommand(e, &g))
	return root
}

// fromEnvironment gives flags that are not on the command line the values of
// their variables.
func fromEnvironment(cmd *cobra.Command, e *env) error {
	var first error
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Changed || f.Name == "help" || f.Name == "version" || first != nil {
			return
		}
		name := "BOYABUILD_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value := e.getenv(name)
		if value == "" {
			return
		}
		if err := cmd.Flags().Set(f.Name, value); err != nil {
			first = usagef("environment variable %s is %q, not %s", name, value, kindOf(f))
		}
	})
	return first
}

// ui makes the user interface of one command.
func (g *globals) ui(e *env) (*ui, error) {
	progress := g.progress
	if g.quiet {
		progress = "none"
	}
	return newUI(e, progress, g.verbose)
}
