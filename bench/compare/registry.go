package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"time"
)

// registry is a real one on loopback, with a proxy before it that counts.
type registry struct {
	host     string // of the proxy
	cmd      *exec.Cmd
	server   *http.Server
	up, down atomic.Int64
	requests atomic.Int64
}

func startRegistry(ctx context.Context, dir string) (*registry, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "config.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: 127.0.0.1:%d}\n", filepath.Join(dir, "data"), port)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		return nil, err
	}
	r := &registry{cmd: exec.Command("docker-registry", "serve", config)}
	if err := r.cmd.Start(); err != nil {
		return nil, err
	}
	behind := &url.URL{Scheme: "http", Host: fmt.Sprintf("127.0.0.1:%d", port)}
	for range 100 {
		if resp, err := http.Get(behind.String() + "/v2/"); err == nil {
			resp.Body.Close()
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r.host = fmt.Sprintf("localhost:%d", l.Addr().(*net.TCPAddr).Port)
	proxy := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(behind)
			p.Out.Host = p.In.Host // so that Locations lead back here
		},
		FlushInterval: -1,
		ModifyResponse: func(resp *http.Response) error {
			resp.Body = &counted{resp.Body, &r.down}
			return nil
		},
	}
	r.server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.requests.Add(1)
		q.Body = &counted{q.Body, &r.up}
		proxy.ServeHTTP(w, q)
	})}
	go r.server.Serve(l) //nolint:errcheck // ends with stop
	return r, nil
}

func (r *registry) stop() {
	r.server.Close()
	r.cmd.Process.Kill()
	r.cmd.Wait() //nolint:errcheck // it was killed
}

type counted struct {
	io.ReadCloser
	n *atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.n.Add(int64(n))
	return n, err
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
