// Package local is an ECR and an ECS on this machine: a registry that really
// stores images and a scheduler that really runs them, at one address on
// loopback, reached by the same code and the same SDK as AWS.
//
// In go the requests of registry clients (OCI distribution, as ECR speaks it) and
// of AWS SDKs (JSON 1.1 with X-Amz-Target); out come stored images, running tasks
// with their logs, and the states, events and reasons in which ECS tells of them.
// Everything lies under one state directory, so that a cloud that is started
// again knows its repositories and services and starts their tasks again.
//
// Where this differs from AWS, because one machine has one network and no cloud
// behind it, an event of the service or an error says so. The package never
// listens on anything but loopback, serves no other user of the machine, and
// never reaches out to AWS or to another registry.
package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/boyabuild/boyabuild/pkg/store"
)

// DefaultAddress is where the local cloud listens unless told otherwise.
const DefaultAddress = "127.0.0.1:5050"

// account is the AWS account that everything here belongs to.
const account = "000000000000"

// Options say where and how a local cloud runs.
type Options struct {
	// State is the directory of everything that the cloud keeps. Required; one
	// cloud at a time.
	State string
	// Address is host:port on loopback; "" is [DefaultAddress], port 0 any free one.
	Address string
	// Store holds the blobs of pushed images; nil is a store of its own in State.
	Store *store.Store
	// Log gets one line a step; nil discards.
	Log *slog.Logger
	// Runner runs containers; nil is [SandboxRunner].
	Runner Runner
	// Clock is for tests; nil is the machine's.
	Clock Clock
}

// Clock tells the time and waits.
type Clock interface {
	Now() time.Time
	After(time.Duration) <-chan time.Time
}

type wallClock struct{}

func (wallClock) Now() time.Time                         { return time.Now() }
func (wallClock) After(d time.Duration) <-chan time.Time { return time.After(d) }

// Cloud is a running local cloud.
type Cloud struct {
	dir      string
	address  string
	token    string // the secret of this state directory
	store    *store.Store
	log      *slog.Logger
	runner   Runner
	clock    Clock
	listener net.Listener
	server   *http.Server
	lock     *os.File
	images   *imageCache
	uploads  uploads

	ctx    context.Context // ends when the cloud closes
	cancel context.CancelFunc
	stop   chan struct{} // closed by POST /local/stop
	closed sync.Once

	mu      sync.Mutex // guards all that follows
	state   state
	closing bool
	ports   map[int]*task   // host ports of tasks that are starting or running
	running sync.WaitGroup  // tasks and schedulers
	wakes   map[string]wake // of the schedulers, by service ARN
	dirty   chan struct{}   // asks for a snapshot
	saving  sync.Mutex      // one snapshot at a time
}

// AddressError reports an address at which no local cloud may or can listen.
type AddressError struct {
	Address string
	Reason  string
	hint    string
}

func (e *AddressError) Error() string {
	return fmt.Sprintf("start local cloud at %s: %s", e.Address, e.Reason)
}

// Hint says what to do.
func (e *AddressError) Hint() string { return e.hint }

// New starts a local cloud: it takes the state directory, listens, and starts the
// tasks of the services that the state knows. Requests are answered once [Cloud.Serve]
// runs. A *[LockedError] says that the directory is in use, an *[AddressError] that
// the address cannot be had.
func New(ctx context.Context, o Options) (*Cloud, error) {
	if o.State == "" {
		return nil, errors.New("start local cloud: no state directory given")
	}
	dir, err := filepath.Abs(o.State)
	if err != nil {
		return nil, fmt.Errorf("start local cloud: %w", err)
	}
	c := &Cloud{dir: dir, store: o.Store, log: o.Log, runner: o.Runner, clock: o.Clock,
		stop: make(chan struct{}), dirty: make(chan struct{}, 1),
		ports: map[int]*task{}, wakes: map[string]wake{}}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	if c.clock == nil {
		c.clock = wallClock{}
	}
	if c.runner == nil {
		c.runner = &SandboxRunner{}
	}
	if err := c.open(ctx, o.Address); err != nil {
		c.release()
		return nil, err
	}
	c.ctx, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
	c.server = &http.Server{
		Handler:           c.Handler(),
		ConnContext:       withPeer,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(c.log.Handler(), slog.LevelDebug),
	}
	c.resume()
	return c, nil
}

// open takes the directory, reads the state and listens.
func (c *Cloud) open(ctx context.Context, address string) error {
	// Logs and images may hold secrets: nobody else on the machine looks in.
	for _, d := range []string{"", "uploads", "scratch", "rootfs", "logs"} {
		if err := os.MkdirAll(filepath.Join(c.dir, d), 0o700); err != nil {
			return fmt.Errorf("start local cloud: %w", err)
		}
	}
	if err := c.takeLock(); err != nil {
		return err
	}
	// Leftovers of a cloud that was killed.
	for dir, prefix := range map[string]string{"uploads": "", "scratch": "", "rootfs": partly} {
		if err := emptyDir(filepath.Join(c.dir, dir), prefix); err != nil {
			return fmt.Errorf("start local cloud: %w", err)
		}
	}
	if err := c.load(); err != nil {
		return err
	}
	if c.store == nil {
		s, err := store.Open(filepath.Join(c.dir, "store"))
		if err != nil {
			return fmt.Errorf("start local cloud: %w", err)
		}
		c.store = s
		if err := c.collect(filepath.Join(s.Dir(), "blobs", "sha256")); err != nil {
			return fmt.Errorf("start local cloud: %w", err)
		}
	}
	c.images = newImageCache(c.store, filepath.Join(c.dir, "rootfs"))
	c.uploads.dir = filepath.Join(c.dir, "uploads")
	var err error
	if c.listener, err = listen(ctx, address); err != nil {
		return err
	}
	c.address = c.listener.Addr().String()
	return c.announce()
}

// listen listens on loopback and nowhere else.
func listen(ctx context.Context, address string) (net.Listener, error) {
	if address == "" {
		address = DefaultAddress
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, &AddressError{Address: address, Reason: "not of the form host:port", hint: "the default is " + DefaultAddress}
	}
	if host == "localhost" {
		host = "127.0.0.1"
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return nil, &AddressError{Address: address, Reason: "not a loopback address",
			hint: "whoever reaches the local cloud runs programs on this machine; it listens on 127.0.0.1 only"}
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(host, port))
	if err != nil {
		reason := err.Error()
		var op *net.OpError
		if errors.As(err, &op) {
			reason = op.Err.Error()
		}
		return nil, &AddressError{Address: address, Reason: reason, hint: "choose another address with --address 127.0.0.1:PORT"}
	}
	return l, nil
}

// Address is the host:port at which the cloud listens.
func (c *Cloud) Address() string { return c.address }

// URL is the base endpoint for AWS SDKs.
func (c *Cloud) URL() string { return "http://" + c.address }

// Serve answers requests until ctx ends or a client asks the cloud to stop; then it
// stops the tasks and closes. It returns nil after an orderly end.
func (c *Cloud) Serve(ctx context.Context) error {
	failed := make(chan error, 1)
	go func() { failed <- c.server.Serve(c.listener) }()
	var err error
	select {
	case <-ctx.Done():
	case <-c.stop:
	case <-c.ctx.Done():
	case err = <-failed:
		if errors.Is(err, http.ErrServerClosed) {
			err = nil
		}
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	return errors.Join(err, c.Close(closing))
}

// closeTimeout bounds Serve's own Close: the longest stopTimeout that ECS allows is
// 120 s, but someone waits at a terminal here.
const closeTimeout = 15 * time.Second

// Close stops the tasks (SIGTERM, then SIGKILL when ctx ends), writes the state and
// stops listening. The services start their tasks again when the state is opened
// the next time.
func (c *Cloud) Close(ctx context.Context) (err error) {
	c.closed.Do(func() {
		c.mu.Lock()
		c.closing = true
		for _, t := range c.liveTasks() {
			t.order(stopOrder{code: "ServiceSchedulerInitiated", reason: reasonCloudStopped})
		}
		for _, w := range c.wakes {
			w.send()
		}
		c.mu.Unlock()
		c.wait(ctx)
		c.cancel()
		err = errors.Join(c.save(), c.shutdown(ctx))
		c.release()
		c.log.Info("local cloud stopped")
	})
	return err
}

const reasonCloudStopped = "The local cloud was stopped."

// wait waits for the tasks to end, and kills those that have not when ctx ends.
func (c *Cloud) wait(ctx context.Context) {
	ended := make(chan struct{})
	go func() { c.running.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-ctx.Done():
		c.cancel() // ends every grace period
		<-ended
	}
}

func (c *Cloud) shutdown(ctx context.Context) error {
	// Long enough for log followers to get the last lines.
	ctx, cancel := context.WithTimeout(ctx, 2*followEvery)
	defer cancel()
	if err := c.server.Shutdown(ctx); err != nil {
		return c.server.Close()
	}
	return nil
}

// release gives back what open took. It is safe at any stage of opening.
func (c *Cloud) release() {
	if c.listener != nil {
		c.listener.Close()
		os.Remove(filepath.Join(c.dir, announceFile))
	}
	if c.lock != nil {
		c.lock.Close()
	}
}

// Handler serves the registry, the APIs and the endpoints of [Client]. It is for
// tests that bring their own server; requests that do not come over [Cloud.Serve]'s
// listener are not checked for the user who sends them.
func (c *Cloud) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/v2/", http.HandlerFunc(c.serveRegistry))
	mux.Handle("/local/", c.clientEndpoints())
	mux.Handle("/{$}", http.HandlerFunc(c.serveAPI))
	return c.guard(mux)
}

// guard refuses requests that a web page or another user of this machine may have
// made.
func (c *Cloud) guard(next http.Handler) http.Handler {
	// A page that has its own name resolve to 127.0.0.1 is "same origin" to the
	// browser, but its name is in Host.
	next = http.NewCrossOriginProtection().Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !loopbackHost(r.Host) {
			http.Error(w, "the local cloud answers to loopback addresses only", http.StatusForbidden)
			return
		}
		if peer, ok := r.Context().Value(peerKey{}).(peer); ok && !peer.allowed() {
			http.Error(w, "the local cloud serves the user who started it only", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// loopbackHost says whether a Host header names this machine's loopback.
func loopbackHost(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || (ip != nil && ip.IsLoopback())
}

// readBody reads a bounded request body.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	return io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
}
