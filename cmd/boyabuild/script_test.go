package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/boyabuild/boyabuild/pkg/debian/debiantest"
	"github.com/boyabuild/boyabuild/pkg/python/index/indextest"
	"github.com/boyabuild/boyabuild/pkg/sandbox"
)

var update = flag.Bool("update", false, "rewrite the golden files and the generated documents")

func TestMain(m *testing.M) {
	sandbox.Main()
	testscript.Main(m, map[string]func(){
		"boyabuild": main,
		"get":       get,
		"interrupt": interrupt,
	})
}

// TestScript runs what a user would type. Beside boyabuild and testscript's own
// commands the scripts have:
//
//	fails STATUS COMMAND…          the command must end with this exit status
//	let NAME [REGEXP]              puts what the last command wrote to stdout, or
//	                               what matches in it, into a variable
//	wheel NAME VERSION [REQUIRES…] puts a wheel on the package index
//	uploads N                      so many blobs and manifests came to the registry since the last time
//	get URL                        fetches a page
//	interrupt TEXT COMMAND…        runs it until TEXT is on its stderr, then interrupts it
//	[!] stall                      the package index answers nothing from now on
//	[!] gone                       no process of this script is left
//
// and the variables REGISTRY (a registry on loopback), KEYRING, BASE and PORT.
func TestScript(t *testing.T) {
	lab := &lab{t: t, archive: debiantest.New(t), ports: map[int]bool{}}
	lab.archive.AddBase("trixie")
	lab.archive.AddPython("trixie", "3.13.5", buildPython(t), "http://index.example.org/simple")
	lab.keyring = lab.archive.KeyringFile()
	if report, err := sandbox.Probe(t.Context(), t.TempDir()); err != nil {
		lab.noSandbox = strings.Join(strings.Fields(fmt.Sprintf("no task can be run here: %v; %s", err, report)), " ")
	}
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		UpdateScripts: *update,
		Setup:         lab.setup,
		Condition:     lab.condition,
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"fails":   fails,
			"let":     let,
			"wheel":   wheel,
			"uploads": uploads,
			"stall":   stall,
			"gone":    gone,
		},
	})
}

// buildPython builds the program that stands for Python in the images. It has
// to be static, which a test program need not be.
func buildPython(t *testing.T) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "python3")
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", out, "./testdata/python3")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOFLAGS=")
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build testdata/python3: %v\n%s", err, b)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// lab is what all scripts share, and nothing in it is changed by one.
type lab struct {
	t         *testing.T
	archive   *debiantest.Server
	keyring   string
	noSandbox string

	mu    sync.Mutex
	ports map[int]bool
}

// bench is what one script has for itself.
type bench struct {
	index   *indextest.Server
	stalled atomic.Bool // the index
	uploads *uploadLog
}

type benchKey struct{}

func (l *lab) setup(e *testscript.Env) error {
	b := &bench{index: indextest.NewServer(l.t), uploads: &uploadLog{}}
	b.uploads.next = registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	b.index.Intercept = func(_ http.ResponseWriter, r *http.Request) bool {
		if b.stalled.Load() {
			<-r.Context().Done()
		}
		return b.stalled.Load()
	}
	e.Values[benchKey{}] = b
	server := httptest.NewServer(b.uploads)
	e.Defer(server.Close)
	home := filepath.Join(e.WorkDir, "home")
	if err := os.MkdirAll(home, 0o700); err != nil {
		return err
	}
	base := "debian://trixie?packages=python3&signed-by=" + l.keyring
	for name, value := range map[string]string{
		"HOME":                      home,
		"XDG_CACHE_HOME":            filepath.Join(home, ".cache"),
		"XDG_STATE_HOME":            filepath.Join(home, ".state"),
		"BOYABUILD_CACHE":           filepath.Join(home, "cache"),
		"BOYABUILD_DEBIAN_MIRROR":   l.archive.URL,
		"BOYABUILD_BUILD_CONTEXT":   "python:alpine=" + base,
		"BOYABUILD_ADDRESS":         "127.0.0.1:0",
		"PIP_INDEX_URL":             b.index.URL,
		"PIP_CONFIG_FILE":           "/dev/null", // nothing of the machine's own settings
		"UV_NO_CONFIG":              "1",
		"AWS_EC2_METADATA_DISABLED": "true",
		"AWS_CONFIG_FILE":           "/dev/null",
		"BASE":                      base,
		"KEYRING":                   l.keyring,
		"REGISTRY":                  strings.TrimPrefix(server.URL, "http://"),
		"PORT":                      strconv.Itoa(l.freePort()),
		"ARCH":                      runtime.GOARCH,
		"MARK":                      e.WorkDir,
		"NO_SANDBOX":                l.noSandbox,
		"GORACE":                    "atexit_sleep_ms=0", // a second for every command else
	} {
		e.Setenv(name, value)
	}
	e.Defer(func() { killMarked(e.WorkDir) }) // of a script that has failed half-way
	return nil
}

// freePort returns a port that is free, and that the system does not give to
// those who ask for any.
func (l *lab) freePort() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		port := 20000 + rand.IntN(10000)
		listener, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
		if err != nil || l.ports[port] {
			continue
		}
		listener.Close()
		l.ports[port] = true
		return port
	}
}

func (l *lab) condition(name string) (bool, error) {
	switch name {
	case "sandbox": // tasks can be run
		return l.noSandbox == "", nil
	case "root":
		return os.Geteuid() == 0, nil
	}
	return false, fmt.Errorf("unknown condition %q", name)
}

// uploadLog counts what is stored in a registry.
type uploadLog struct {
	next http.Handler
	mu   sync.Mutex
	seen []string
}

func (u *uploadLog) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPut {
		u.mu.Lock()
		u.seen = append(u.seen, r.Method+" "+r.URL.Path)
		u.mu.Unlock()
	}
	u.next.ServeHTTP(w, r)
}

func fails(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: fails STATUS COMMAND [ARGUMENT…]")
	}
	err := ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		ts.Fatalf("%s did not fail: %v", args[1], err)
	}
	if got := strconv.Itoa(exit.ExitCode()); got != args[0] {
		ts.Fatalf("exit status %s, want %s", got, args[0])
	}
}

func let(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 || len(args) > 2 {
		ts.Fatalf("usage: let NAME [REGEXP]")
	}
	value := strings.TrimSpace(ts.ReadFile("stdout"))
	if len(args) == 2 {
		value = regexp.MustCompile(args[1]).FindString(value)
	}
	if value == "" {
		ts.Fatalf("nothing to put into %s", args[0])
	}
	ts.Setenv(args[0], value)
}

func wheel(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: wheel NAME VERSION [REQUIREMENT…]")
	}
	name, version := args[0], args[1]
	ts.Value(benchKey{}).(*bench).index.AddSpec(indextest.Spec{
		Name: name, Version: version, Requires: args[2:],
		Files:          map[string]string{name + "/__init__.py": fmt.Sprintf("__version__ = %q\n", version)},
		ConsoleScripts: map[string]string{name: name + ":main"},
	})
}

func stall(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) > 0 {
		ts.Fatalf("usage: [!] stall")
	}
	ts.Value(benchKey{}).(*bench).stalled.Store(!neg)
}

func uploads(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: uploads NUMBER")
	}
	u := ts.Value(benchKey{}).(*bench).uploads
	u.mu.Lock()
	defer u.mu.Unlock()
	if strconv.Itoa(len(u.seen)) != args[0] {
		ts.Fatalf("%d uploads, want %s:\n%s", len(u.seen), args[0], strings.Join(u.seen, "\n"))
	}
	u.seen = nil
}

func gone(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) > 0 {
		ts.Fatalf("usage: [!] gone")
	}
	if neg {
		if len(marked(ts.Getenv("WORK"))) == 0 {
			ts.Fatalf("nothing is running")
		}
		return
	}
	var left map[int]string
	for range 50 {
		if left = marked(ts.Getenv("WORK")); len(left) == 0 {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	ts.Fatalf("still running: %v", left)
}

// marked returns the processes that have a script's MARK in their environment:
// those it has started and, by the task definition, the tasks.
func marked(work string) map[int]string {
	found := map[int]string{}
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil || !bytes.Contains(append([]byte{0}, b...), []byte("\x00MARK="+work+"\x00")) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f))); err == nil {
			cmdline, _ := os.ReadFile(filepath.Join(filepath.Dir(f), "cmdline"))
			found[pid] = strings.ReplaceAll(string(cmdline), "\x00", " ")
		}
	}
	return found
}

func killMarked(work string) {
	for pid := range marked(work) {
		endProcess(pid, false)
	}
	for range 50 {
		if len(marked(work)) == 0 {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	for pid := range marked(work) {
		endProcess(pid, true)
	}
}

// get is the program that fetches a page.
func get() {
	client := http.Client{Timeout: 10 * time.Second}
	resp, err := client.Get(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(os.Stdout, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		log.Fatal(resp.Status, err)
	}
}

// interrupt is the program that runs another until a text is on its stderr, and
// then interrupts it as ^C in a terminal does.
func interrupt() {
	wanted := regexp.MustCompile(os.Args[1])
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[2], os.Args[3:]...)
	w := &watcher{out: os.Stderr, wanted: wanted}
	w.found = func() { _ = cmd.Process.Signal(os.Interrupt) }
	cmd.Stdout, cmd.Stderr = os.Stdout, w
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		os.Exit(exit.ExitCode())
	case err != nil:
		log.Fatal(err)
	}
}

// watcher calls found once, when wanted has been written.
type watcher struct {
	out    io.Writer
	seen   []byte
	wanted *regexp.Regexp
	found  func()
}

func (w *watcher) Write(p []byte) (int, error) {
	if w.found != nil {
		if w.seen = append(w.seen, p...); w.wanted.Match(w.seen) {
			w.found()
			w.found = nil
		}
	}
	return w.out.Write(p)
}
