package local

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The wire is AWS JSON 1.1 (Smithy, "AWS JSON 1.1 protocol"): POST /, the operation
// in X-Amz-Target, a JSON object in and out, times as seconds since 1970, errors as
// {"__type": …, "message": …}. It is what the ECR and ECS clients of aws-sdk-go-v2
// speak. The types here are written from the API's reference and not borrowed from
// the SDK: an SDK talking to itself would notice none of its own mistakes, and what
// a newer client sends that this package does not know must get through.

// apiError is an error as the API words it.
type apiError struct {
	code    string
	message string
	status  int
}

func (e *apiError) Error() string { return e.code + ": " + e.message }

// refuse makes an error of the client's doing.
func refuse(code, format string, args ...any) *apiError {
	return &apiError{code: code, message: fmt.Sprintf(format, args...), status: http.StatusBadRequest}
}

func invalid(format string, args ...any) *apiError {
	return refuse("InvalidParameterException", format, args...)
}

func clientError(format string, args ...any) *apiError {
	return refuse("ClientException", format, args...)
}

// unsupported refuses what AWS can do and this cloud cannot.
func unsupported(format string, args ...any) *apiError {
	return refuse("UnsupportedFeatureException", "the local cloud "+format, args...)
}

// call is what an operation knows of its request besides the input.
type call struct {
	region string
	cloud  *Cloud
}

// operation serves one operation of an API. Its result says whether it may have
// changed the state.
type operation struct {
	run     func(*call, []byte) ([]byte, error)
	changes bool
}

// read and change make operations of functions that run while the cloud is locked.
func read[In, Out any](f func(*call, *In) (Out, error)) operation {
	return operation{run: decoded(f)}
}

func change[In, Out any](f func(*call, *In) (Out, error)) operation {
	return operation{run: decoded(f), changes: true}
}

func decoded[In, Out any](f func(*call, *In) (Out, error)) func(*call, []byte) ([]byte, error) {
	return func(c *call, body []byte) ([]byte, error) {
		var in In
		if len(body) > 0 {
			if err := json.Unmarshal(body, &in); err != nil {
				return nil, refuse("SerializationException", "%v", err)
			}
		}
		c.cloud.mu.Lock()
		defer c.cloud.mu.Unlock()
		out, err := f(c, &in)
		if err != nil {
			return nil, err
		}
		return json.Marshal(out) // while what it shows cannot change
	}
}

// maxAPIBody bounds a request of the API; the largest real ones, PutImage's, hold a
// manifest of 4 MiB.
const maxAPIBody = 8 << 20

const (
	ecrTarget = "AmazonEC2ContainerRegistry_V20150921."
	ecsTarget = "AmazonEC2ContainerServiceV20141113."
)

// serveAPI answers ECR, ECS and STS, told apart as their protocols do.
func (c *Cloud) serveAPI(w http.ResponseWriter, r *http.Request) {
	requestID := randomHex(32)
	w.Header().Set("X-Amzn-Requestid", requestID)
	if r.Method != http.MethodPost {
		http.Error(w, "this is a local cloud: an ECR and an ECS for AWS SDKs, and a registry at /v2/", http.StatusMethodNotAllowed)
		return
	}
	body, err := readBody(w, r, maxAPIBody)
	if err != nil {
		writeAPIError(w, refuse("SerializationException", "the request could not be read: %v", err))
		return
	}
	target := r.Header.Get("X-Amz-Target")
	if target == "" {
		c.serveSTS(w, r, body, requestID)
		return
	}
	op, err := findOperation(target)
	if err != nil {
		writeAPIError(w, err)
		return
	}
	out, err := op.run(&call{region: regionOf(r), cloud: c}, body)
	if err == nil && op.changes {
		err = c.save()
	}
	if err != nil {
		c.log.Debug("local cloud: " + target + ": " + err.Error())
		writeAPIError(w, err)
		return
	}
	writeAPI(w, http.StatusOK, out)
}

func findOperation(target string) (operation, error) {
	for prefix, operations := range map[string]map[string]operation{ecrTarget: ecrOperations(), ecsTarget: ecsOperations()} {
		if name, ok := strings.CutPrefix(target, prefix); ok {
			if op, ok := operations[name]; ok {
				return op, nil
			}
			return operation{}, refuse("UnknownOperationException", "the local cloud does not know the operation %s", name)
		}
	}
	return operation{}, refuse("UnknownOperationException", "the local cloud does not know %s", target)
}

func writeAPI(w http.ResponseWriter, status int, b []byte) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	w.Write(b)
}

func writeAPIError(w http.ResponseWriter, err error) {
	var e *apiError
	if !errors.As(err, &e) {
		e = &apiError{code: "ServerException", message: err.Error(), status: http.StatusInternalServerError}
	}
	w.Header().Set("X-Amzn-Errortype", e.code)
	b, err := json.Marshal(map[string]string{"__type": e.code, "message": e.message})
	if err != nil { // of strings
		b = []byte("{}")
	}
	writeAPI(w, e.status, b)
}

var credentialScope = regexp.MustCompile(`Credential=[^/,\s]+/\d{8}/([a-z0-9-]{1,40})/`)

// regionOf takes the region from the request's signature (Signature Version 4), as
// there is one endpoint for all of them.
func regionOf(r *http.Request) string {
	if m := credentialScope.FindStringSubmatch(r.Header.Get("Authorization")); m != nil {
		return m[1]
	}
	return "us-east-1"
}

// epoch is a time as seconds since 1970.
type epoch time.Time

func (e epoch) MarshalJSON() ([]byte, error) {
	t := time.Time(e)
	return fmt.Appendf(nil, "%d.%03d", t.Unix(), t.Nanosecond()/1e6), nil
}

func (e *epoch) UnmarshalJSON(b []byte) error {
	var f float64
	if err := json.Unmarshal(b, &f); err != nil {
		return err
	}
	*e = epoch(time.UnixMilli(int64(f*1000 + 0.5)))
	return nil
}

func at(t time.Time) *epoch { e := epoch(t); return &e }

func (e *epoch) time() time.Time {
	if e == nil {
		return time.Time{}
	}
	return time.Time(*e)
}

// tag is a resource tag.
type tag struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// given says whether an optional member was sent with a value.
func given(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }

// paging are the members by which a list is asked for in pages.
type paging struct {
	Limit *int   `json:"maxResults"`
	Token string `json:"nextToken"`
}

// page answers with the part of a list that was asked for, under its name: as
// many as usual unless a limit is given, and never more than most.
func page[T any](name string, all []T, p paging, usual, most int) (any, error) {
	n := usual
	if p.Limit != nil && *p.Limit > 0 {
		n = min(*p.Limit, most)
	}
	start := 0
	if p.Token != "" {
		b, err := base64.RawURLEncoding.DecodeString(p.Token)
		if err == nil {
			start, err = strconv.Atoi(string(b))
		}
		if err != nil || start < 0 {
			return nil, invalid("Invalid token")
		}
	}
	start = min(start, len(all))
	end := min(start+n, len(all))
	out := map[string]any{name: all[start:end]}
	if end < len(all) {
		out["nextToken"] = base64.RawURLEncoding.EncodeToString([]byte(strconv.Itoa(end)))
	}
	return out, nil
}

// describe answers with what find knows of each thing asked for, under a name,
// and with failures for those of which it returns nil and the ARN. The plural is
// for the message where there are more than most.
func describe(name, plural string, refs []string, most int, find func(ref string) (found map[string]any, arn string)) (any, error) {
	if len(refs) > most {
		return nil, invalid("%s can not be more than %d.", plural, most)
	}
	found, failures := []any{}, []failure{}
	for _, ref := range refs {
		one, arn := find(ref)
		if one == nil {
			failures = append(failures, failure{arn, "MISSING"})
			continue
		}
		found = append(found, one)
	}
	return map[string]any{name: found, "failures": failures}, nil
}

// failure is an element of the failures of an answer with status 200.
type failure struct {
	Arn    string `json:"arn"`
	Reason string `json:"reason"`
}

// showTags adds tags to a description, copied: the answer is written without
// the lock.
func showTags(out map[string]any, tags []tag) {
	if tags != nil {
		out["tags"] = slices.Clone(tags)
	}
}

// lastPart returns what follows the last slash of an ARN, or the name itself.
func lastPart(arn string) string { return arn[strings.LastIndexByte(arn, '/')+1:] }

// sortedKeys returns a map's keys in order.
func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// sleep waits by the cloud's clock; false when ctx ends first.
func (c *Cloud) sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-c.clock.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}
