package sandbox

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// endless is a reader that has always more.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestStdin(t *testing.T) {
	rootfs := newRootfs(t)
	large := strings.Repeat("input of the command\n", 50_000) // more than a pipe holds
	file := filepath.Join(t.TempDir(), "input")
	check(t, os.WriteFile(file, []byte(large), 0o600))
	forEachMode(t, func(t *testing.T, mode Mode) {
		command := func(in io.Reader, user string, args ...string) Command {
			return Command{Rootfs: rootfs, Mode: mode, Stdin: in, User: user, Args: append([]string{"guest"}, args...)}
		}
		t.Run("all of a reader", func(t *testing.T) {
			out, status := run(t, command(strings.NewReader(large), "web", "upper"))
			if status.Code != 0 || out != strings.ToUpper(large) {
				t.Error(status, len(out))
			}
		})
		t.Run("all of a file", func(t *testing.T) {
			f, err := os.Open(file)
			check(t, err)
			defer f.Close()
			out, status := run(t, command(f, "", "upper"))
			if status.Code != 0 || out != strings.ToUpper(large) {
				t.Error(status, len(out))
			}
		})
		for name, in := range map[string]io.Reader{"none": nil, "empty": strings.NewReader("")} {
			t.Run(name, func(t *testing.T) {
				if out, status := run(t, command(in, "", "upper")); status.Code != 0 || out != "" {
					t.Error(status, out)
				}
			})
		}
		t.Run("more than is read", func(t *testing.T) {
			if out, status := run(t, command(endless{}, "", "head", "3")); status.Code != 0 || out != "\x00\x00\x00" {
				t.Errorf("%v %q", status, out)
			}
		})
		t.Run("a reader that waits", func(t *testing.T) {
			r, w := io.Pipe()
			defer w.Close()
			go io.WriteString(w, "abc")
			if out, status := run(t, command(r, "", "head", "3")); status.Code != 0 || out != "abc" {
				t.Errorf("%v %q", status, out)
			}
		})
		t.Run("closed by the command", func(t *testing.T) {
			p, _ := begin(t, command(endless{}, "", "head", "3", "stay"), allBarriers)
			feeding := p.init.stdin.fed
			select {
			case <-feeding:
			case <-time.After(20 * time.Second):
				t.Error("the reader is still read")
			}
			check(t, p.Stop(t.Context(), 0))
		})
		t.Run("an error of the reader", func(t *testing.T) {
			cause := errors.New("the disk is gone")
			c := command(io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(cause)), "", "upper")
			var out bytes.Buffer
			c.Stdout = &out
			p, _ := begin(t, c, allBarriers)
			if _, err := p.Wait(); !errors.Is(err, cause) || out.String() != "ABC" {
				t.Error(err, out.String())
			}
		})
	})
}

func TestNoNetwork(t *testing.T) {
	rootfs := newRootfs(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	forEachMode(t, func(t *testing.T, mode Mode) {
		for _, user := range []string{"", "web"} {
			with, _ := run(t, Command{Rootfs: rootfs, Mode: mode, User: user, Args: []string{"guest", "network", l.Addr().String()}})
			if !strings.HasPrefix(with, "outside: true\n") {
				t.Errorf("with a network: %s", with)
			}
			out, _ := run(t, Command{Rootfs: rootfs, Mode: mode, User: user, NoNetwork: true, Args: []string{"guest", "network", l.Addr().String()}})
			if mode == ChrootLandlock {
				if want := "outside: false\nno interfaces\nloopback: false\nUnix sockets: true\n"; out != want {
					t.Errorf("got %s, want %s", out, want)
				}
				continue
			}
			if !strings.HasPrefix(out, "outside: false\nlo true\n") || !strings.Contains(out, "\nloopback: true\n") ||
				!strings.HasSuffix(out, "\nUnix sockets: true\n") {
				t.Error(out)
			}
			if strings.Contains(out, "eth") {
				t.Error(out)
			}
		}
	})
}
