package dockerfile

import (
	"time"

	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// Step is one instruction of a stage: one of the types Add, Arg, Cmd, Copy,
// Entrypoint, Env, Expose, Healthcheck, Label, Maintainer, Onbuild, Run, Shell,
// StopSignal, User, Volume, Workdir. As parsed, its words are as written; as
// returned by [Scope.Apply], variables are expanded and quotes removed.
type Step interface {
	// At is where the step comes from.
	At() Origin
	// Position is the file and the line on which the step begins.
	Position() (file string, line int)

	step()
}

// Origin is a place in a Dockerfile.
type Origin struct {
	File          string
	Line, EndLine int // 1-based, both included; heredocs belong to it
	// Text is the instruction as written, continued lines joined to one,
	// without the contents of heredocs.
	Text string
	// Trigger says that this is an ONBUILD trigger of the stage's base; Line
	// and EndLine are then those of the FROM.
	Trigger bool

	node *parser.Node
}

// At returns o.
func (o Origin) At() Origin { return o }

// Position returns the file and the first line.
func (o Origin) Position() (file string, line int) { return o.File, o.Line }

func (Origin) step() {}

// Ref is what a FROM or a --from names.
type Ref struct {
	// Name is the name of an image or of a named context ("" = the build's
	// own context, "scratch" = nothing at all), or that of a stage.
	Name string
	// Stage is the index of the stage, if IsStage.
	Stage   int
	IsStage bool
}

// Scratch reports whether r is the empty base.
func (r Ref) Scratch() bool { return !r.IsStage && r.Name == "scratch" }

// Var is a name with a value.
type Var struct{ Name, Value string }

// Command is what CMD, ENTRYPOINT and RUN have in common.
type Command struct {
	// Args is the exec form's list or, if Shell, one line for a shell.
	Args  []string
	Shell bool
}

// Argv returns the command with the given shell before it, if it wants one.
func (c Command) Argv(shell []string) []string {
	if !c.Shell {
		return c.Args
	}
	return append(append([]string{}, shell...), c.Args...)
}

// Env is ENV.
type Env struct {
	Origin
	Vars []Var
}

// Label is LABEL.
type Label struct {
	Origin
	Labels []Var
}

// Workdir is WORKDIR. As applied, Path is absolute and clean.
type Workdir struct {
	Origin
	Path string
}

// User is USER: "name", "uid", or either with ":group".
type User struct {
	Origin
	User string
}

// Expose is EXPOSE. As applied, each port is "8080/tcp", ranges are written out.
type Expose struct {
	Origin
	Ports []string
}

// Entrypoint is ENTRYPOINT.
type Entrypoint struct {
	Origin
	Command
}

// Cmd is CMD.
type Cmd struct {
	Origin
	Command
}

// Arg is ARG.
type Arg struct {
	Origin
	Args []ArgVar
}

// ArgVar is one argument of an ARG.
type ArgVar struct {
	Name string
	// Value is the default or, as applied, the value.
	Value string
	// Set is false without a default or, as applied, without a value.
	Set bool
}

// Volume is VOLUME.
type Volume struct {
	Origin
	Paths []string
}

// StopSignal is STOPSIGNAL: a name with or without "SIG", or a number.
type StopSignal struct {
	Origin
	Signal string
}

// Healthcheck is HEALTHCHECK.
type Healthcheck struct {
	Origin
	Check Health
}

// Health is how a container's health is found out; zero durations and retries
// mean the runtime's defaults.
type Health struct {
	// Test is ["NONE"], ["CMD", args…] or ["CMD-SHELL", line].
	Test          []string
	Interval      time.Duration
	Timeout       time.Duration
	StartPeriod   time.Duration
	StartInterval time.Duration
	Retries       int
}

// Shell is SHELL: the command before every shell form that follows.
type Shell struct {
	Origin
	Shell []string
}

// Onbuild is ONBUILD.
type Onbuild struct {
	Origin
	Trigger string // an instruction
}

// Maintainer is MAINTAINER.
type Maintainer struct {
	Origin
	Name string
}

// Copy is COPY.
type Copy struct {
	Origin
	Sources []string // paths in From; may hold wildcards
	Inline  []Inline // heredocs, copied after Sources
	// Dest is the destination; as applied, an absolute path, which ends with
	// "/" where a folder was asked for.
	Dest    string
	From    Ref
	Chown   string // "user[:group]", names or numbers
	Chmod   string // as applied, ParseChmod takes it
	Link    bool   // --link: laid on top without regard to what is below
	Parents bool   // --parents: with the sources' folders
	Exclude []string
}

// Add is ADD.
type Add struct {
	Origin
	Sources    []string // paths, URLs, Git references
	Inline     []Inline
	Dest       string // as in Copy
	Chown      string
	Chmod      string
	Link       bool
	Exclude    []string
	Checksum   string // "sha256:…" of a URL, commit of a Git reference
	KeepGitDir *bool  // nil = not said
	Unpack     *bool  // nil = archives from the context only
}

// Inline is a file given in the Dockerfile itself.
type Inline struct {
	Name string // base name: the heredoc's word
	Data string
	// Expand says that Data holds variables to be expanded; false as applied.
	Expand bool
}

// Run is RUN.
type Run struct {
	Origin
	Command
	Heredocs []Heredoc
	// Mounts are the --mount flags; as parsed, nil if one of them holds a
	// variable.
	Mounts   []Mount
	Network  string // "default", "none", "host"
	Security string // "sandbox", "insecure"
	Devices  []Device
	sources  []Ref // of the mounts' from, known before variables are
}

// Heredoc is an inline document of a RUN.
type Heredoc struct {
	Name string
	Data string
	Chop bool // "<<-": tabs that begin a line are not part of it
}

// Mount is one --mount of a RUN.
type Mount struct {
	Type     string // "bind", "cache", "tmpfs", "secret", "ssh"
	From     Ref    // bind and cache; without a name: the build context, for a cache nothing
	Source   string // path in From; for a secret the id's old name
	Target   string // as applied, absolute (for a secret or ssh "" if not said)
	ReadOnly bool
	Size     int64  // tmpfs: bytes, 0 = no limit
	ID       string // cache, secret, ssh; of a cache its Target unless said
	Sharing  string // cache: "shared", "private", "locked"
	Required bool
	Env      *string // secret: variable to put it in; pointer to "" = the id's name
	Mode     *uint32
	UID, GID *int
}

// Device is one --device of a RUN (CDI).
type Device struct {
	Name     string
	Required bool
}
