package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// forEachMode runs a test in every mode that works here.
func forEachMode(t *testing.T, test func(*testing.T, Mode)) {
	t.Helper()
	report, err := Probe(t.Context(), userDir(t))
	if err != nil {
		t.Skip(err)
	}
	for _, a := range report.Tried {
		t.Run(string(a.Mode), func(t *testing.T) {
			if a.Err != nil {
				t.Skip(a.Err)
			}
			test(t, a.Mode)
		})
	}
}

// run runs a command to its end and returns what it wrote to its standard output.
func run(t *testing.T, c Command) (string, ExitStatus) {
	t.Helper()
	var out bytes.Buffer
	c.Stdout = &out
	p, _ := begin(t, c, allBarriers)
	status, err := p.Wait()
	check(t, err)
	return out.String(), status
}

// begin starts a command with the PATH that the tests need. What it writes to its
// standard error goes to the test's log.
func begin(t *testing.T, c Command, only barrier) (*Process, *bytes.Buffer) {
	t.Helper()
	var errs bytes.Buffer
	if c.Scratch == "" {
		c.Scratch = filepath.Join(userDir(t), "scratch")
	}
	if c.Env == nil {
		c.Env = []string{"PATH=/nowhere:/bin"}
	}
	if c.Stderr == nil {
		c.Stderr = &errs
		t.Cleanup(func() {
			if errs.Len() > 0 {
				t.Log(errs.String())
			}
		})
	}
	p, err := start(t.Context(), c, only)
	check(t, err)
	t.Cleanup(func() {
		p.kill()
		p.Wait()
		if left, err := os.ReadDir(c.Scratch); err != nil || len(left) > 0 {
			t.Errorf("left in the scratch directory: %v %v", left, err)
		}
	})
	return p, &errs
}

func TestCommand(t *testing.T) {
	tests := []struct {
		name   string
		c      Command
		want   string // a regular expression for the whole output
		status ExitStatus
		only   []Mode // all when empty
	}{
		{name: "success", c: Command{Args: []string{"guest", "exit", "0"}}},
		{name: "exit code", c: Command{Args: []string{"guest", "exit", "73"}}, status: ExitStatus{Code: 73}},
		{name: "absolute path", c: Command{Args: []string{"/bin/guest", "exit", "3"}}, status: ExitStatus{Code: 3}},
		{name: "path relative to the working directory",
			c: Command{Args: []string{"./guest", "exit", "4"}, Dir: "/bin"}, status: ExitStatus{Code: 4}},
		{name: "killed", c: Command{Args: []string{"guest", "die", "9"}}, status: ExitStatus{Code: 137, Signal: "SIGKILL"}},
		{name: "terminated", c: Command{Args: []string{"guest", "die", "15"}}, status: ExitStatus{Code: 143, Signal: "SIGTERM"}},
		{name: "output", c: Command{Args: []string{"guest", "both"}}, want: "to stdout\n"},
		{name: "environment", c: Command{Args: []string{"guest", "env"}, Env: []string{"PATH=/bin", "A=1=2", "B=\xff"}},
			want: "PATH=/bin\nA=1=2\nB=\xff\nHOME=/root\n"},
		{name: "default environment", c: Command{Args: []string{"guest", "env"}, Env: []string{}, User: "web"},
			want: "PATH=/usr/local/sbin:.*:/bin\nHOME=/srv\n"},
		{name: "working directory and host name", c: Command{Args: []string{"guest", "where"}, Dir: "/srv", Hostname: "boyacky"},
			want: "/srv boyacky\n", only: []Mode{RootUserNamespace, Namespaces, MappedUserNamespace, SingleUserNamespace}},
		{name: "working directory that the image lacks", c: Command{Args: []string{"guest", "where"}, Dir: "app/data"},
			want: "/app/data .*\n"},
		{name: "root", c: Command{Args: []string{"guest", "id"}}, want: `0 0 \[.*\]` + "\n"},
		{name: "uid", c: Command{Args: []string{"guest", "id"}, User: "65532"}, want: `65532 0 \[.*\]` + "\n"},
		{name: "uid and gid", c: Command{Args: []string{"guest", "id"}, User: "65532:65531"}, want: `65532 65531 \[.*\]` + "\n"},
		{name: "name", c: Command{Args: []string{"guest", "id"}, User: "app"},
			want: `1000 1000 \[4 44\]` + "\n", only: []Mode{RootUserNamespace, Namespaces, ChrootLandlock, MappedUserNamespace}},
		{name: "name in a single-user namespace", c: Command{Args: []string{"guest", "id"}, User: "app"},
			want: `1000 1000 \[.*\]` + "\n", only: []Mode{SingleUserNamespace}},
		{name: "name and group", c: Command{Args: []string{"guest", "id"}, User: "web:media"}, want: `33 44 \[.*\]` + "\n"},
		{name: "known uid", c: Command{Args: []string{"guest", "id"}, User: "33"}, want: `33 34 \[.*\]` + "\n"},
		{name: "files", c: Command{Args: []string{"guest", "cat", "/etc/resolv.conf", "/etc/hosts", "/etc/new/file"},
			Files: map[string][]byte{"/etc/resolv.conf": []byte("r\n"), "/etc/hosts": []byte("h\n"), "/etc/new/file": []byte("n\n")}},
			want: "r\nh\nn\n"},
		{name: "image", c: Command{Args: []string{"guest", "cat", "/srv/data"}, User: "web"}, want: "from the image\n"},
		{name: "write to stdout by name", c: Command{Args: []string{"guest", "write", "/dev/stdout"}, User: "web"}, want: "written\n",
			only: []Mode{RootUserNamespace, Namespaces, MappedUserNamespace, SingleUserNamespace}},
		{name: "devices", c: Command{Args: []string{"guest", "devices"}, User: "web"},
			want: "null 0 true true\nzero 4 false true\nfull 4 false false\nrandom 4 false true\nurandom 4 false true\n"},
		{name: "no open files", c: Command{Args: []string{"guest", "fds"}}, want: "0 1 2 \n"},
		{name: "limits", c: Command{Args: []string{"guest", "limits"}}, want: "files [0-9]+ core 0 umask 022\n"},
		{name: "orphans are reaped", c: Command{Args: []string{"guest", "zombies"}}, want: "2 processes, 0 zombies\n",
			only: []Mode{RootUserNamespace, Namespaces, MappedUserNamespace, SingleUserNamespace}},
		{name: "daemons end with the command", c: Command{Args: []string{"guest", "family", "end", "daemon-of-the-test"}}, want: "ready\n"},
	}
	rootfs := newRootfs(t)
	before := listing(t, rootfs)
	// As if the test program had been started with a file open for its children.
	inherited, err := unix.Open("/dev/null", unix.O_RDONLY, 0)
	check(t, err)
	defer unix.Close(inherited)
	forEachMode(t, func(t *testing.T, mode Mode) {
		for _, test := range tests {
			if test.only != nil && !slices.Contains(test.only, mode) {
				continue
			}
			t.Run(test.name, func(t *testing.T) {
				c := test.c
				c.Rootfs, c.Mode = rootfs, mode
				out, status := run(t, c)
				if diff := cmp.Diff(test.status, status); diff != "" {
					t.Error(diff)
				}
				if out != test.want && !regexp.MustCompile(`^`+test.want+`$`).MatchString(out) {
					t.Errorf("output %q, want %q", out, test.want)
				}
			})
		}
		if left := processesWith("daemon-of-the-test"); len(left) > 0 {
			t.Error("still there:", left)
		}
	})
	if diff := cmp.Diff(before, listing(t, rootfs)); diff != "" {
		t.Error("the root filesystem was written to:", diff)
	}
}

// listing tells a tree apart from a changed one.
func listing(t *testing.T, root string) (all []string) {
	t.Helper()
	check(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		check(t, err)
		var st unix.Stat_t
		check(t, unix.Lstat(path, &st))
		all = append(all, fmt.Sprintf("%s %o %d:%d %d %v", path, st.Mode, st.Uid, st.Gid, st.Size, st.Mtim))
		return nil
	}))
	return all
}

func TestStartError(t *testing.T) {
	rootfs := newRootfs(t)
	for path, text := range map[string]string{
		"srv/script": "#!/bin/bash -e\n", "srv/dos": "#!/bin/guest\r\n", "srv/text": "hello\n",
	} {
		check(t, os.WriteFile(filepath.Join(rootfs, path), []byte(text), 0o755))
	}
	check(t, os.Mkdir(rootfs+"/srv/closed", 0o700))
	foreign := staticProgram([]byte{0, 0, 0, 0})
	foreign[18], foreign[19] = 0xf3, 0 // e_machine: riscv
	check(t, os.WriteFile(rootfs+"/srv/foreign", foreign, 0o755))
	forEachMode(t, func(t *testing.T, mode Mode) {
		for _, test := range []struct {
			name string
			c    Command
			want string
			code int
		}{
			{"not in the path", Command{Args: []string{"pythn3"}},
				`start "pythn3": executable "pythn3" not found in $PATH (/nowhere:/bin)`, 127},
			{"no such file", Command{Args: []string{"/srv/none"}}, `start "/srv/none": executable "/srv/none" not found`, 127},
			{"directory", Command{Args: []string{"/srv"}}, `start "/srv": /srv is a directory`, 126},
			{"not executable", Command{Args: []string{"/srv/data"}},
				`start "/srv/data": /srv/data is not executable (its mode is 0644)`, 126},
			{"no interpreter", Command{Args: []string{"/srv/script"}},
				`start "/srv/script": execute /srv/script: its interpreter "/bin/bash" is not in the image`, 126},
			{"windows line ends", Command{Args: []string{"/srv/dos"}},
				`start "/srv/dos": execute /srv/dos: its first line ends in a carriage return`, 126},
			{"text", Command{Args: []string{"/srv/text"}},
				`start "/srv/text": execute /srv/text: it is neither a program nor a script that begins with #!`, 126},
			{"foreign machine", Command{Args: []string{"/srv/foreign"}},
				`start "/srv/foreign": execute /srv/foreign: it is a program for riscv, and this machine is ` +
					machineName(machines[runtime.GOARCH]), 126},
			{"unknown user", Command{Args: []string{"guest"}, User: "bob"},
				`start "guest": user "bob" is not in the image's /etc/passwd`, 126},
			{"unknown group", Command{Args: []string{"guest"}, User: "web:bobs"},
				`start "guest": group "bobs" is not in the image's /etc/group`, 126},
			{"working directory is a file", Command{Args: []string{"guest"}, Dir: "/srv/data"},
				`start "guest": working directory /srv/data: not a directory`, 126},
			{"no command", Command{}, `start "": there is no command to run`, 127},
			{"zero byte", Command{Args: []string{"guest", "a\x00b"}}, `start "guest": "a\x00b" holds a zero byte`, 126},
		} {
			t.Run(test.name, func(t *testing.T) {
				c := test.c
				c.Rootfs, c.Scratch, c.Mode, c.Env = rootfs, filepath.Join(userDir(t), "s"), mode, []string{"PATH=/nowhere:/bin"}
				_, err := Start(t.Context(), c)
				start, ok := errors.AsType[*StartError](err)
				if !ok {
					t.Fatalf("got %v", err)
				}
				if err.Error() != test.want || start.ExitCode != test.code {
					t.Errorf("got %v (%d), want %v (%d)", err, start.ExitCode, test.want, test.code)
				}
				if left, _ := os.ReadDir(c.Scratch); len(left) > 0 {
					t.Errorf("left in the scratch directory: %v", left)
				}
			})
		}
	})
}

// What is written is seen inside and stays out of the image, also when it has an
// owner that only exists inside.
func TestWrites(t *testing.T) {
	rootfs := newRootfs(t)
	before := listing(t, rootfs)
	forEachMode(t, func(t *testing.T, mode Mode) {
		out, status := run(t, Command{Rootfs: rootfs, Mode: mode, Args: []string{"guest", "write", "/srv/data", "/srv/new", "/tmp/x"}})
		if status.Code != 0 {
			t.Error(status, out)
		}
		owners := []Owner{{Path: "/tmp", UID: 33, GID: 34}, {Path: "/bin/setuid/guest", UID: 33, GID: 34}}
		out, _ = run(t, Command{Rootfs: rootfs, Mode: mode, Owners: owners,
			Args: []string{"guest", "stat", "/srv/data", "/tmp", "/bin/setuid/guest", "/bin/guest"}})
		want := "/srv/data 100644 0:0\n/tmp 41777 33:34\n/bin/setuid/guest 104755 33:34\n/bin/guest 100755 0:0\n"
		if mode == SingleUserNamespace {
			want = strings.ReplaceAll(want, "33:34", "0:0")
		}
		if diff := cmp.Diff(want, out); diff != "" {
			t.Error(diff)
		}
		if mode == SingleUserNamespace {
			return
		}
		// A directory of web's in the upper layer is not the ordinary user's to remove.
		_, status = run(t, Command{Rootfs: rootfs, Mode: mode, Owners: owners, User: "web", Args: []string{"guest", "write", "/tmp/x"}})
		if status.Code != 0 {
			t.Error(status)
		}
	})
	if diff := cmp.Diff(before, listing(t, rootfs)); diff != "" {
		t.Error("the root filesystem was written to:", diff)
	}
}

// lines is a writer whose lines a test waits for.
type lines struct{ c chan string }

func newLines() lines { return lines{make(chan string, 100)} }

func (l lines) Write(p []byte) (int, error) {
	for line := range strings.Lines(string(p)) {
		l.c <- strings.TrimSpace(line)
	}
	return len(p), nil
}

func (l lines) next(t *testing.T) string {
	t.Helper()
	select {
	case line := <-l.c:
		return line
	case <-time.After(20 * time.Second):
		t.Fatal("the command wrote nothing")
		return ""
	}
}

func TestStop(t *testing.T) {
	rootfs := newRootfs(t)
	forEachMode(t, func(t *testing.T, mode Mode) {
		begun := func(t *testing.T, c Command) (*Process, lines) {
			l := newLines()
			c.Rootfs, c.Mode, c.Stdout = rootfs, mode, l
			p, _ := begin(t, c, allBarriers)
			if got := l.next(t); got != "ready" {
				t.Fatal(got)
			}
			return p, l
		}
		t.Run("stop signal", func(t *testing.T) {
			p, l := begun(t, Command{Args: []string{"guest", "on", "2"}, StopSignal: unix.SIGINT, User: "web"})
			check(t, p.Stop(t.Context(), time.Minute))
			status, err := p.Wait()
			if err != nil || status != (ExitStatus{Code: 7}) || l.next(t) != "interrupt" {
				t.Error(status, err)
			}
			check(t, p.Stop(t.Context(), time.Minute)) // once more does no harm
		})
		t.Run("signal to init is passed on", func(t *testing.T) {
			p, l := begun(t, Command{Args: []string{"guest", "on", "10"}})
			check(t, unix.Kill(p.Pid(), unix.SIGUSR1))
			status, err := p.Wait()
			if err != nil || status.Code != 7 || l.next(t) != "user defined signal 1" {
				t.Error(status, err)
			}
		})
		t.Run("grace ends", func(t *testing.T) {
			p, _ := begun(t, Command{Args: []string{"guest", "stubborn"}})
			began := time.Now()
			check(t, p.Stop(t.Context(), 100*time.Millisecond))
			status, err := p.Wait()
			if err != nil || status != (ExitStatus{Code: 137, Signal: "SIGKILL"}) {
				t.Error(status, err)
			}
			if d := time.Since(began); d < 100*time.Millisecond || d > stopDelay {
				t.Error("it took", d)
			}
		})
		t.Run("everything is killed", func(t *testing.T) {
			marker := fmt.Sprintf("everything-%d-%s", os.Getpid(), mode)
			p, _ := begun(t, Command{Args: []string{"guest", "family", "stay", marker}})
			check(t, p.Stop(t.Context(), 0))
			if left := processesWith(marker); len(left) > 0 {
				t.Error("still there:", left)
			}
		})
		t.Run("context ends", func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			l := newLines()
			scratch := filepath.Join(userDir(t), "scratch")
			p, err := Start(ctx, Command{Rootfs: rootfs, Scratch: scratch, Mode: mode, Args: []string{"/bin/guest", "stubborn"}, Stdout: l})
			check(t, err)
			l.next(t)
			cause := errors.New("enough")
			cancel(cause)
			status, err := p.Wait()
			if err != cause || status.Code != 137 {
				t.Error(status, err)
			}
			if left, err := os.ReadDir(scratch); err != nil || len(left) > 0 {
				t.Error(left, err)
			}
		})
		if mode != ChrootLandlock {
			t.Run("init is killed", func(t *testing.T) {
				marker := fmt.Sprintf("init-%d-%s", os.Getpid(), mode)
				p, _ := begun(t, Command{Args: []string{"guest", "family", "stay", marker}})
				check(t, unix.Kill(p.Pid(), unix.SIGKILL))
				_, err := p.Wait()
				if err == nil || err.Error() != "the sandbox's init ended without a report: signal: killed" {
					t.Error(err)
				}
				awaitNone(t, marker)
			})
		}
		t.Run("scratch is for one", func(t *testing.T) {
			scratch := filepath.Join(userDir(t), "scratch")
			begun(t, Command{Args: []string{"guest", "stubborn"}, Scratch: scratch})
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			_, err := Start(ctx, Command{Rootfs: rootfs, Scratch: scratch, Mode: mode, Args: []string{"guest"}})
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		})
	})
}

func TestPort(t *testing.T) {
	rootfs := newRootfs(t)
	forEachMode(t, func(t *testing.T, mode Mode) {
		l := newLines()
		p, _ := begin(t, Command{Rootfs: rootfs, Mode: mode, Args: []string{"guest", "serve", "127.0.0.1:0"}, User: "65532", Stdout: l}, allBarriers)
		address := l.next(t)
		c, err := net.Dial("tcp", address)
		check(t, err)
		b, err := io.ReadAll(c)
		check(t, err)
		c.Close()
		if string(b) != "hello from inside\n" {
			t.Errorf("got %q", b)
		}
		check(t, p.Stop(t.Context(), time.Minute))
		again, err := net.Listen("tcp", address)
		check(t, err)
		again.Close()
	})
}

func TestReport(t *testing.T) {
	report, err := Probe(t.Context(), userDir(t))
	if err != nil {
		t.Skip(err)
	}
	if report.For(8080) != report.Mode {
		t.Error("another mode for a high port")
	}
	if low := report.For(80); os.Geteuid() == 0 && low == RootUserNamespace {
		t.Error(low, "cannot bind a low port")
	}
	if text := report.String(); !strings.HasPrefix(text, "sandbox: "+string(report.Mode)+"\n") {
		t.Error(text)
	}
}

// BenchmarkStart is a whole life: make the sandbox, run a program that ends at
// once, clean up. ChrootLandlock copies the root filesystem of the tests each time.
func BenchmarkStart(b *testing.B) {
	rootfs, scratch := newRootfs(b), userDir(b)
	report, err := Probe(b.Context(), scratch)
	if err != nil {
		b.Skip(err)
	}
	for _, a := range report.Tried {
		b.Run(string(a.Mode), func(b *testing.B) {
			if a.Err != nil {
				b.Skip(a.Err)
			}
			for b.Loop() {
				p, err := Start(b.Context(), Command{Rootfs: rootfs, Scratch: scratch, Mode: a.Mode, Args: []string{"/bin/guest", "exit", "0"}})
				check(b, err)
				_, err = p.Wait()
				check(b, err)
			}
		})
	}
}
