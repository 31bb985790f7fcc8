package index

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// silentFreshness is how long a page is used again without asking when its
// server says nothing at all about that: no Cache-Control, no Expires, no ETag,
// no Last-Modified. It is half of what the public index says where it says
// something; a version that is wanted by name and is not on such a page is
// asked for again (Client.Refresh), and Options.Refresh always asks.
const silentFreshness = 5 * time.Minute

// pageRecord is what is kept of a page: how to ask for it again, and its
// compact form.
type pageRecord struct {
	ETag         string    `json:"etag,omitempty"`
	LastModified string    `json:"lastModified,omitempty"`
	Asked        time.Time `json:"asked"`
	Fresh        int64     `json:"fresh"`  // seconds after Asked in which it need not be asked for again
	Source       string    `json:"source"` // the hash of what was received
	Page         v1.Hash   `json:"page"`
}

// projectPage reads the page of a project at u: as it is kept, where it is
// fresh (RFC 9111) and not refresh; else the server is asked, with the
// validators of the kept one, and a page that comes again as it was is not
// parsed again. reused tells that nobody was asked.
func (c *Client) projectPage(ctx context.Context, u *url.URL, project string, refresh bool) (p *page, reused bool, err error) {
	key := ""
	var known pageRecord
	var kept *page
	if u.RawQuery == "" { // it may hold a signature
		key = "project-page/1 " + redact(u)
		if found, err := c.cache.Record(key, &known); err != nil || !found || !c.cache.Has(known.Page) {
			known = pageRecord{}
		}
	}
	header := http.Header{"Accept": {accept}}
	if known.Page.Hex != "" {
		if !refresh && known.isFresh(c.now()) {
			if kept := c.keptPage(known.Page); kept != nil {
				return kept, true, nil
			}
			known = pageRecord{}
		} else if known.ETag != "" || known.LastModified != "" {
			// Opened before it is promised to the server that we have it.
			if kept = c.keptPage(known.Page); kept != nil {
				setValidators(header, known)
			}
		}
	}
	if refresh {
		header.Set("Cache-Control", "no-cache") // for caches on the way
	}
	asked := c.now()
	resp, body, err := c.http.read(ctx, u, header, maxPage)
	if err != nil {
		return nil, false, err
	}
	fresh := freshness(resp.Header)
	if resp.StatusCode == http.StatusNotModified && kept != nil {
		c.rememberPage(key, known.again(resp.Header, asked, fresh))
		return kept, false, nil
	}
	doc := document{base: resp.Request.URL, contentType: resp.Header.Get("Content-Type"), body: body}
	doc.base.User = nil
	source := doc.hash()
	if known.Source == source {
		if kept == nil {
			kept = c.keptPage(known.Page)
		}
		if kept != nil {
			c.rememberPage(key, known.again(resp.Header, asked, fresh))
			return kept, false, nil
		}
	}
	data, keep, err := c.compact(doc, project)
	if err != nil {
		return nil, false, err
	}
	if key != "" && keep && fresh != noStore {
		c.keepPage(ctx, key, pageRecord{Source: source}.again(resp.Header, asked, fresh), data)
	}
	p, err = openPage(data)
	return p, false, err
}

func setValidators(header http.Header, known pageRecord) {
	if known.ETag != "" {
		header.Set("If-None-Match", known.ETag)
	}
	if known.LastModified != "" {
		header.Set("If-Modified-Since", known.LastModified)
	}
}

// hash is that of all that the compact form is made from.
func (d document) hash() string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n", d.contentType, d.base)
	h.Write(d.body)
	return hex.EncodeToString(h.Sum(nil))
}

// again is the record after another answer. A 304 may leave out validators that
// still hold (RFC 9111, 3.2).
func (r pageRecord) again(header http.Header, asked time.Time, fresh time.Duration) pageRecord {
	if etag := header.Get("ETag"); etag != "" {
		r.ETag = etag
	}
	if modified := header.Get("Last-Modified"); modified != "" {
		r.LastModified = modified
	}
	if fresh == silent {
		fresh = silentFreshness
		if r.ETag != "" || r.LastModified != "" {
			fresh = 0 // asking costs little
		}
	}
	r.Asked, r.Fresh = asked.UTC().Truncate(time.Second), int64(max(fresh, 0)/time.Second)
	return r
}

// isFresh reports whether the page may be used without asking. One that was
// asked for in the future was so by another clock.
func (r pageRecord) isFresh(now time.Time) bool {
	age := now.Sub(r.Asked)
	return age >= 0 && age < time.Duration(r.Fresh)*time.Second
}

// What freshness answers besides a time.
const (
	silent  time.Duration = -1 // the server says nothing
	noStore time.Duration = -2 // nothing may be kept
)

// maxFreshness bounds what a server can say.
const maxFreshness = 365 * 24 * time.Hour

// freshness is for how long a page may be used (RFC 9111, 4.2.1); the cache is
// a private one.
func freshness(header http.Header) time.Duration {
	directives, said := map[string]string{}, false
	for _, line := range header.Values("Cache-Control") {
		for directive := range strings.SplitSeq(line, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
			directives[strings.ToLower(name)], said = strings.Trim(value, `"`), true
		}
	}
	if _, ok := directives["no-store"]; ok {
		return noStore
	}
	if _, ok := directives["no-cache"]; ok || strings.Contains(header.Get("Pragma"), "no-cache") {
		return 0
	}
	age := seconds(header.Get("Age"))
	if maxAge, ok := directives["max-age"]; ok {
		return max(seconds(maxAge)-age, 0)
	}
	if expires := header.Get("Expires"); expires != "" {
		until, err1 := http.ParseTime(expires)
		date, err2 := http.ParseTime(header.Get("Date")) // the server's own clock
		if err1 != nil || err2 != nil {
			return 0 // "especially the value 0" means expired (RFC 9111, 5.3)
		}
		return min(max(until.Sub(date)-age, 0), maxFreshness)
	}
	if said {
		return 0
	}
	return silent
}

func seconds(text string) time.Duration {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return min(time.Duration(min(n, int64(maxFreshness/time.Second)))*time.Second, maxFreshness)
}

// keptPage opens a page of the cache; nil when it cannot be used.
func (c *Client) keptPage(h v1.Hash) *page {
	data, err := readFileLimit(c.cache.File(h), 2*maxPage)
	if err != nil {
		return nil
	}
	p, err := openPage(data)
	if err != nil {
		return nil
	}
	return p
}

// keepPage puts a page into the cache. That it could not be kept costs time,
// not the result.
func (c *Client) keepPage(ctx context.Context, key string, r pageRecord, data []byte) {
	h, _, err := c.cache.Put(ctx, bytes.NewReader(data), nil)
	if err != nil {
		c.log.Debug(fmt.Sprintf("keep page: %v", err))
		return
	}
	r.Page = h
	c.rememberPage(key, r)
}

func (c *Client) rememberPage(key string, r pageRecord) {
	if err := c.cache.SetRecord(key, r); err != nil {
		c.log.Debug(fmt.Sprintf("keep page: %v", err))
	}
}

// document reads a page of links, which is not kept.
func (c *Client) document(ctx context.Context, u *url.URL) (document, error) {
	resp, body, err := c.http.read(ctx, u, http.Header{"Accept": {accept}}, maxPage)
	if err != nil {
		return document{}, err
	}
	doc := document{base: resp.Request.URL, contentType: resp.Header.Get("Content-Type"), body: body}
	doc.base.User = nil
	return doc, nil
}
