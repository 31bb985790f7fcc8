package sandbox

// What Start and the sandbox's init say to each other over a socket, in gob, since
// arguments and environment need not be UTF-8: one request, then orders one way
// and events the other. The end of the stream tells init that its parent is gone.

// request is what init is to do.
type request struct {
	Mode                Mode
	Rootfs, Scratch     string
	Args, Env           []string
	Dir, User, Hostname string
	Files               map[string][]byte
	Owners              []Owner
	NoNetwork           bool

	Remove string // instead of running a command: remove this tree

	Only barrier // for tests
}

// barrier is for tests that look at one of the things that confine a command
// alone.
type barrier int

const (
	allBarriers  barrier = iota
	onlyLandlock         // keep the capabilities
	onlyCaps             // no Landlock domain
	copyRootfs           // as if there were no overlay
	oldKernel            // as if there were no mount_setattr
	hostProc             // as if a fresh /proc were forbidden
)

// order tells init what to do with the command: pass it a signal, or, for
// SIGKILL, end everything in the sandbox.
type order struct {
	Signal int
}

type eventKind int

const (
	eventStarted eventKind = iota + 1
	eventEnded
	eventFailed
)

// event is what init reports.
type event struct {
	Kind   eventKind
	Notes  []string   // started: what this sandbox cannot do
	Status ExitStatus // ended
	Error  string     // failed: the cause; of a StartError when Code is set
	Code   int
	Hint   string
}
