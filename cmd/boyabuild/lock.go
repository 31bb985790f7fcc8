package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/boyabuild/boyabuild/pkg/build"
	"github.com/boyabuild/boyabuild/pkg/python/lockfile"
)

// lockFlags are the flags of lock.
type lockFlags struct {
	platforms, pythons, buildContexts []string
	libc, base, format, output        string
	excludeNewer                      string
	upgrade                           bool
	upgradePackages                   []string
	extras, groups                    []string
	onlyBinary, pre, hashes           bool
	annotate, header, refresh         bool
	index                             indexFlags
}

func (f *lockFlags) register(cmd *cobra.Command) {
	s := cmd.Flags()
	s.StringVar(&f.format, "format", "pylock", "`FORMAT` of the lock: pylock (PEP 751) or requirements")
	s.StringVarP(&f.output, "output", "o", "", "write the lock to `FILE`, and keep the versions of the one that is there")
	s.BoolVarP(&f.upgrade, "upgrade", "U", false, "take the newest versions, whatever the lock that is there says")
	s.StringArrayVarP(&f.upgradePackages, "upgrade-package", "P", nil, "let `NAME` (or NAME==VERSION) change")
	s.StringVar(&f.excludeNewer, "exclude-newer", "", "ignore package files uploaded after `TIME` (2024-05-01, RFC 3339, or a span such as 7 days)")
	s.StringSliceVar(&f.platforms, "platform", nil, "`PLATFORM`s to lock for, such as linux/amd64,linux/arm64")
	s.StringSliceVar(&f.pythons, "python", nil, "`VERSION`s of Python to lock for, such as 3.13 (default: the base's)")
	s.StringVar(&f.libc, "libc", "", "`LIBC` to lock for: glibc2.28 or musl1.2 (default: the base's)")
	s.StringVar(&f.base, "base", "", "`BASE` that the Python is taken from (default: that of the Dockerfile)")
	s.StringArrayVar(&f.buildContexts, "build-context", nil, "`NAME=SOURCE`: take a base from elsewhere, as in build")
	s.BoolVar(&f.refresh, "refresh", false, "ask the index for every page again, however fresh the kept one is")
	s.BoolVar(&f.onlyBinary, "only-binary", false, "use wheels only: build nothing from source")
	s.BoolVar(&f.pre, "pre", false, "take pre-releases, too")
	s.StringArrayVar(&f.extras, "extra", nil, "lock the project's extra `NAME`, too")
	s.StringArrayVar(&f.groups, "group", nil, "lock the dependency group `NAME`, too")
	s.BoolVar(&f.hashes, "generate-hashes", false, "with --format requirements: the hash of every file")
	s.BoolVar(&f.annotate, "annotate", false, "with --format requirements: say which package wants each")
	s.BoolVar(&f.header, "header", false, "with --format requirements: say at the top how it was made")
	f.index.register(s)
}

func lockCommand(e *env, g *globals) *cobra.Command {
	var f lockFlags
	cmd := &cobra.Command{
		Use:   "lock [CONTEXT | FILE | -]",
		Short: "Resolve the dependencies and print a lock",
		Long: `Resolve what a project depends on, and print the lock on stdout, or write it to
the FILE of --output. The requirements are those of FILE, a requirements file or a
pyproject.toml, of stdin (-), or of the first of requirements.in,
requirements.txt, pyproject.toml and Pipfile in CONTEXT.

The lock is for the Python and the C library of the project's base, or for those
given. With several platforms or Pythons it is one lock for all, with the same
version for each wherever there is one that fits, and markers where not.

Nothing but metadata is fetched. A package without a wheel whose metadata only
its own build tells is built in a sandbox on the base; --only-binary leaves such
packages out.`,
		Example: `  boyabuild lock -o pylock.toml
  boyabuild lock --format requirements --generate-hashes requirements.in
  boyabuild lock --platform linux/amd64,linux/arm64 --python 3.12,3.13 --libc glibc2.36 -o pylock.toml
  boyabuild lock -o pylock.toml --upgrade-package flask`,
		Args: arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.format != "pylock" && f.format != "requirements" {
				return usagef("--format is %q, none of pylock, requirements", f.format)
			}
			if f.format == "pylock" && (f.annotate || f.header) {
				return usagef("--annotate and --header are comments of --format requirements; a pylock names what each package depends on")
			}
			dir, file, err := lockInput(args)
			if err != nil {
				return err
			}
			if err := f.checkOutput(); err != nil {
				return err
			}
			s, err := newSession(cmd, e, g, []string{dir})
			if err != nil {
				return err
			}
			defer s.close()
			return s.lock(cmd.Context(), &f, file)
		},
	}
	f.register(cmd)
	return cmd
}

// lockInput tells a context from an input file.
func lockInput(args []string) (dir, file string, err error) {
	switch {
	case len(args) == 0:
		return ".", "", nil
	case args[0] == "-":
		return ".", "-", nil
	}
	info, err := os.Stat(args[0])
	if err != nil {
		return "", "", usagef("%s: %s", args[0], reasonOf(err))
	}
	if info.IsDir() {
		return args[0], "", nil
	}
	return filepath.Dir(args[0]), args[0], nil
}

// checkOutput finds out before everything is resolved that a lock cannot be
// written where it is wanted.
func (f *lockFlags) checkOutput() error {
	if f.output == "" || f.output == "-" {
		return nil
	}
	if info, err := os.Stat(f.output); err == nil && !info.Mode().IsRegular() {
		return usagef("--output %s: is no file", f.output)
	}
	dir := filepath.Dir(f.output)
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return usagef("--output %s: there is no folder %s", f.output, dir)
	}
	return nil
}

func (s *session) lock(ctx context.Context, f *lockFlags, file string) error {
	// Nearly all that a resolution reads stays in use until it is over; to look
	// for garbage in it again and again was a fifth of a warm one.
	debug.SetGCPercent(300)
	o := build.LockOptions{
		File: file, Stdin: s.env.stdin, Env: s.env.lookup, Pythons: f.pythons, Libc: f.libc, Extras: f.extras, Groups: f.groups,
		OnlyBinary: f.onlyBinary, Pre: f.pre, Earlier: f.output, Upgrade: f.upgrade, UpgradePackages: f.upgradePackages,
	}
	bo, err := s.buildOptions(&buildFlags{platforms: f.platforms, buildContexts: f.buildContexts, excludeNewer: f.excludeNewer, compression: "gzip"})
	if err != nil {
		return err
	}
	o.Options = *bo
	o.NoCache = f.refresh
	if f.base != "" {
		o.Base = f.base
	}
	b, err := s.builder(&f.index)
	if err != nil {
		return err
	}
	made, err := b.Lock(ctx, o)
	if err != nil {
		return err
	}
	for _, name := range made.Unknown {
		s.ui.log.Warn(fmt.Sprintf("--upgrade-package %s: nothing depends on %s", name, name))
	}
	var text bytes.Buffer
	if f.format == "requirements" {
		ro := lockfile.RequirementsOptions{Hashes: f.hashes, Via: f.annotate, URLs: made.URLs}
		if f.header {
			ro.Header = []string{"made by: boyabuild lock" + changedFlags(s.cmd)}
		}
		err = lockfile.Requirements(&text, made.Locks, ro)
	} else {
		err = writePylock(&text, made, f)
	}
	if err != nil {
		return err
	}
	if f.output == "" || f.output == "-" {
		_, err = s.env.stdout.Write(text.Bytes())
		return err
	}
	if err := replaceFile(f.output, text.Bytes()); err != nil {
		return fmt.Errorf("write the lock %s: %s", f.output, reasonOf(err))
	}
	_, err = fmt.Fprintln(s.env.stdout, f.output)
	return err
}

// writePylock writes a lock that stands in the place of --output.
func writePylock(w io.Writer, l *build.Locked, flags *lockFlags) error {
	o := lockfile.MergeOptions{CreatedBy: "boyabuild", RequiresPython: l.RequiresPython}
	if flags.output != "" && flags.output != "-" {
		dir, err := filepath.Abs(filepath.Dir(flags.output))
		if err != nil {
			return err
		}
		o.Dir = dir
	}
	f, err := lockfile.Merge(l.Locks, o)
	if err != nil {
		return err
	}
	return f.Write(w)
}

// replaceFile writes a file beside its place and moves it there, so that an
// interrupted command leaves the old one.
func replaceFile(name string, content []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	if _, err := tmp.Write(content); err != nil {
		tmp.Close()
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	mode := os.FileMode(0o644)
	if info, err := os.Stat(name); err == nil {
		mode = info.Mode().Perm()
	}
	if err := os.Chmod(tmp.Name(), mode); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), name)
}

// changedFlags are the flags of a command line that shape its result, as
// written.
func changedFlags(cmd *cobra.Command) string {
	var b strings.Builder
	cmd.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
		if f.Changed && f.Name != "output" && !strings.Contains(f.Name, "index") { // an index's URL may hold a password
			fmt.Fprintf(&b, " --%s %s", f.Name, f.Value)
		}
	})
	return b.String()
}
