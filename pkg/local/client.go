package local

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// secretHeader carries the token of the state directory. A web page cannot send it,
// nor can whoever may not read the directory.
const secretHeader = "X-Boyabuild-Local"

// clientEndpoints serve [Client].
func (c *Cloud) clientEndpoints() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /local/ping", func(w http.ResponseWriter, r *http.Request) {
		json.NewEncoder(w).Encode(announcement{Address: c.address, Pid: os.Getpid()})
	})
	mux.HandleFunc("GET /local/status", func(w http.ResponseWriter, r *http.Request) {
		json.NewEncoder(w).Encode(c.Status())
	})
	mux.HandleFunc("GET /local/logs", c.serveLogs)
	mux.HandleFunc("POST /local/stop", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusAccepted)
		c.mu.Lock()
		defer c.mu.Unlock()
		select {
		case <-c.stop:
		default:
			close(c.stop)
		}
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !hmac.Equal([]byte(r.Header.Get(secretHeader)), []byte(c.token)) {
			http.Error(w, "the token of the state directory is missing or wrong", http.StatusForbidden)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// Status is what a local cloud is doing.
type Status struct {
	Address  string          `json:"address"`
	Pid      int             `json:"pid"`
	State    string          `json:"state"`
	Services []ServiceStatus `json:"services"`
}

// ServiceStatus is a service that has not been deleted.
type ServiceStatus struct {
	Cluster        string `json:"cluster"`
	Name           string `json:"name"`
	Status         string `json:"status"`
	TaskDefinition string `json:"taskDefinition"` // family:revision
	Desired        int    `json:"desired"`
	Running        int    `json:"running"`
	Pending        int    `json:"pending"`
	Rollout        string `json:"rollout"` // of the primary deployment
	// URLs are where its containers' ports are, on this machine.
	URLs []string `json:"urls"`
	// Event is the newest one.
	Event string `json:"event"`
}

// Status returns what the cloud is doing.
func (c *Cloud) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	st := Status{Address: c.address, Pid: os.Getpid(), State: c.dir, Services: []ServiceStatus{}}
	for _, name := range sortedKeys(c.state.Clusters) {
		cl := c.state.Clusters[name]
		for _, name := range sortedKeys(cl.Services) {
			if s := cl.Services[name]; s.Status != "INACTIVE" {
				st.Services = append(st.Services, c.serviceStatus(cl, s))
			}
		}
	}
	return st
}

func (c *Cloud) serviceStatus(cl *cluster, s *service) ServiceStatus {
	out := ServiceStatus{Cluster: cl.Name, Name: s.Name, Status: s.Status, Desired: s.desired(),
		TaskDefinition: lastPart(s.Settings.TaskDefinition), URLs: []string{}}
	for _, d := range s.Rollouts {
		running, pending := s.counts(d)
		out.Running, out.Pending = out.Running+running, out.Pending+pending
	}
	if p := s.primary(); p != nil {
		out.Rollout = p.Rollout
		for _, port := range c.definitionOf(p).ports() {
			out.URLs = append(out.URLs, fmt.Sprintf("http://127.0.0.1:%d", port))
		}
	}
	if len(s.Events) > 0 {
		out.Event = s.Events[0].Message
	}
	return out
}

// LogQuery chooses log lines.
type LogQuery struct {
	// Cluster and Service name what wrote them; for tasks of RunTask, Service is the
	// family of their task definition.
	Cluster, Service string
	// Task is a task's id or the beginning of one; "" is all of them.
	Task string
	// Since leaves out older lines; the zero time leaves out none.
	Since time.Time
	// Tail is how many of the last lines to begin with; 0 is all.
	Tail int
	// Follow goes on with new lines until the context or the cloud ends.
	Follow bool
}

func (q LogQuery) values() url.Values {
	v := url.Values{"cluster": {q.Cluster}, "service": {q.Service}, "task": {q.Task}, "tail": {strconv.Itoa(q.Tail)},
		"follow": {strconv.FormatBool(q.Follow)}}
	if !q.Since.IsZero() {
		v.Set("since", q.Since.UTC().Format(time.RFC3339Nano))
	}
	return v
}

func parseLogQuery(v url.Values) (q LogQuery, err error) {
	q = LogQuery{Cluster: first(v.Get("cluster"), "default"), Service: v.Get("service"), Task: v.Get("task"), Follow: v.Get("follow") == "true"}
	if !resourceName.MatchString(q.Cluster) || !resourceName.MatchString(q.Service) {
		return q, errors.New("cluster and service must be names")
	}
	if s := v.Get("since"); s != "" {
		if q.Since, err = time.Parse(time.RFC3339Nano, s); err != nil {
			return q, err
		}
	}
	if s := v.Get("tail"); s != "" {
		q.Tail, err = strconv.Atoi(s)
	}
	return q, err
}

// maxTail bounds the lines held in memory for the sake of Tail.
const maxTail = 100_000

// followEvery is how often new lines are looked for.
const followEvery = 200 * time.Millisecond

// serveLogs streams log lines as JSON, one a line.
func (c *Cloud) serveLogs(w http.ResponseWriter, r *http.Request) {
	q, err := parseLogQuery(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/jsonl")
	flush := http.NewResponseController(w)
	out := json.NewEncoder(w)
	logs := &logReader{dir: filepath.Join(c.dir, "logs", q.Cluster, q.Service), task: q.Task}
	defer logs.Close()
	var last []*LogLine // while Tail is counted
	tail := min(q.Tail, maxTail)
	for ended := false; ; {
		logs.scan()
		for l := logs.read(); l != nil; l = logs.read() {
			if l.Time.Before(q.Since) {
				continue
			}
			if tail > 0 {
				if last = append(last, l); len(last) >= 2*tail {
					last = slices.Clone(last[len(last)-tail:])
				}
				continue
			}
			if out.Encode(l) != nil {
				return
			}
		}
		for _, l := range last[max(len(last)-tail, 0):] {
			if out.Encode(l) != nil {
				return
			}
		}
		last, tail = nil, 0
		if flush.Flush() != nil || ended || !q.Follow {
			return
		}
		select {
		case <-time.After(followEvery):
		case <-c.ctx.Done():
			ended = true // once more: the tasks' last words
		case <-r.Context().Done():
			return
		}
	}
}

// NotRunningError says that no local cloud uses the state directory.
type NotRunningError struct{ State string }

func (e *NotRunningError) Error() string { return "no local cloud runs in " + e.State }

// Hint says what to do.
func (e *NotRunningError) Hint() string {
	return "start one with `boyabuild local` or `boyabuild up --local`"
}

// Client talks to a running local cloud of the same user.
type Client struct {
	// Address is host:port.
	Address string
	dir     string
	token   string
	http    *http.Client
}

// Find returns a client for the local cloud that uses the state directory, after
// asking it; a *[NotRunningError] when there is none.
func Find(ctx context.Context, state string) (*Client, error) {
	dir, err := filepath.Abs(state)
	if err != nil {
		return nil, fmt.Errorf("find local cloud: %w", err)
	}
	a, err := readAnnouncement(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &NotRunningError{dir}
	}
	if err != nil {
		return nil, fmt.Errorf("find local cloud: read %s: %w", filepath.Join(dir, announceFile), err)
	}
	token, err := os.ReadFile(filepath.Join(dir, tokenFile))
	if err != nil {
		return nil, fmt.Errorf("find local cloud: %w", err)
	}
	// Never through a proxy, and never the token to anything but loopback.
	if !loopbackHost(a.Address) {
		return nil, &NotRunningError{dir}
	}
	client := &Client{Address: a.Address, dir: dir, token: strings.TrimSpace(string(token)), http: &http.Client{Transport: &http.Transport{}}}
	ping, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	// Something else may have the port by now, and would not know the process id.
	var answer announcement
	if err := client.get(ping, "/local/ping", &answer); err != nil || answer.Pid != a.Pid {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, &NotRunningError{dir}
	}
	return client, nil
}

// URL is the base endpoint for AWS SDKs.
func (c *Client) URL() string { return "http://" + c.Address }

func (c *Client) do(ctx context.Context, method, path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.URL()+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set(secretHeader, c.token)
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask local cloud: %w", err)
	}
	if resp.StatusCode/100 != 2 {
		defer resp.Body.Close()
		b, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		return nil, fmt.Errorf("ask local cloud: %s: %s", resp.Status, bytes.TrimSpace(b))
	}
	return resp, nil
}

func (c *Client) get(ctx context.Context, path string, v any) error {
	resp, err := c.do(ctx, http.MethodGet, path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAPIBody)).Decode(v); err != nil {
		return fmt.Errorf("ask local cloud: read the answer to %s: %w", path, err)
	}
	return nil
}

// Status asks what the cloud is doing.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var s Status
	err := c.get(ctx, "/local/status", &s)
	return s, err
}

// Stop asks the cloud to stop its tasks and itself, and waits until it is gone.
func (c *Client) Stop(ctx context.Context) error {
	resp, err := c.do(ctx, http.MethodPost, "/local/stop")
	if err != nil {
		return err
	}
	resp.Body.Close()
	for { // its last act but one is to take this away
		a, err := readAnnouncement(c.dir)
		if err != nil || a.Address != c.Address {
			return nil
		}
		if c.get(ctx, "/local/ping", &a) != nil && !c.locked() {
			return nil // it was killed meanwhile
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("stop local cloud: %w", ctx.Err())
		}
	}
}

// locked says whether some cloud uses the state directory.
func (c *Client) locked() bool {
	f, err := os.Open(filepath.Join(c.dir, lockFile))
	if err != nil {
		return false
	}
	defer f.Close()
	return tryLock(f, false) != nil
}

// Lines calls f with each log line that q chooses, until there are no more, f
// returns an error, or ctx ends.
func (c *Client) Lines(ctx context.Context, q LogQuery, f func(LogLine) error) error {
	resp, err := c.do(ctx, http.MethodGet, "/local/logs?"+q.values().Encode())
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 8*maxLogLine) // JSON may take six bytes for one
	for lines.Scan() {
		var l LogLine
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return fmt.Errorf("read logs: %w", err)
		}
		if err := f(l); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read logs: %w", err)
	}
	return nil
}

// Logs writes the log lines that q chooses to w, each after the first digits of its
// task's id.
func (c *Client) Logs(ctx context.Context, q LogQuery, w io.Writer) error {
	return c.Lines(ctx, q, func(l LogLine) error {
		_, err := fmt.Fprintf(w, "%.8s %s\n", l.Task, l.Text)
		return err
	})
}
