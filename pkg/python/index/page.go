package index

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/url"
	"strings"

	"golang.org/x/net/html"
)

const (
	simpleJSON = "application/vnd.pypi.simple.v1+json"
	simpleHTML = "application/vnd.pypi.simple.v1+html"

	// accept is the content negotiation of PEP 691: JSON where there is any,
	// plain HTML as the last resort.
	accept = simpleJSON + ", " + simpleHTML + ";q=0.2, text/html;q=0.01"

	// maxPage bounds a page: the largest of public indexes have some 50 MB.
	maxPage = 256 << 20
)

// document is a page as it was received.
type document struct {
	base        *url.URL // where it came from, after redirects
	contentType string
	body        []byte
}

// parsePage reads a project page or a page of links.
func parsePage(d document) ([]link, error) {
	isJSON, err := d.isJSON()
	if err != nil {
		return nil, err
	}
	if isJSON {
		return parseJSON(d.body, d.base)
	}
	return parseHTML(d.body, d.base)
}

// isJSON tells the two kinds of pages apart; what is neither is an error.
func (d document) isJSON() (bool, error) {
	mediaType, _, err := mime.ParseMediaType(d.contentType)
	if err != nil {
		mediaType = d.contentType
	}
	switch mediaType {
	case simpleJSON, "application/vnd.pypi.simple.latest+json", "application/json":
		return true, nil
	case simpleHTML, "application/vnd.pypi.simple.latest+html", "text/html", "application/xhtml+xml":
		return false, nil
	}
	return false, fmt.Errorf("%s is of type %q, which is no page of a package index", redact(d.base), mediaType)
}

// checkAPIVersion refuses another major version than 1 (PEP 629).
func checkAPIVersion(v string) error {
	if v == "" || v == "1" || strings.HasPrefix(v, "1.") {
		return nil
	}
	return fmt.Errorf("the index speaks version %q of the Simple API; only version 1 is known", v)
}

// parseHTML reads the HTML of PEP 503 with the attributes of PEP 592, 658 and
// 714: every anchor is a file.
func parseHTML(body []byte, base *url.URL) ([]link, error) {
	z := html.NewTokenizer(bytes.NewReader(body))
	z.SetMaxBuf(1 << 20) // no tag of a page is longer
	var out []link
	based := false
	for {
		switch z.Next() {
		case html.ErrorToken:
			if err := z.Err(); !errors.Is(err, io.EOF) {
				return nil, fmt.Errorf("read page %s: %w", redact(base), err)
			}
			return out, nil
		case html.StartTagToken, html.SelfClosingTagToken:
			name, hasAttr := z.TagName()
			switch string(name) {
			case "base":
				// HTML 5: the first base with a href counts.
				if href, ok := attributes(z, hasAttr)["href"]; ok && !based {
					if u, ok := resolve(base, href); ok {
						base, based = u, true
					}
				}
			case "meta":
				if a := attributes(z, hasAttr); a["name"] == "pypi:repository-version" {
					if err := checkAPIVersion(a["content"]); err != nil {
						return nil, fmt.Errorf("read page %s: %w", redact(base), err)
					}
				}
			case "a":
				if l, ok := anchor(attributes(z, hasAttr), base); ok {
					out = append(out, l)
				}
			}
		}
	}
}

func attributes(z *html.Tokenizer, more bool) map[string]string {
	out := map[string]string{}
	for more {
		var key, value []byte
		key, value, more = z.TagAttr()
		if _, twice := out[string(key)]; !twice { // HTML 5: the first of two counts
			out[string(key)] = string(value)
		}
	}
	return out
}

func anchor(a map[string]string, base *url.URL) (link, bool) {
	href, ok := a["href"]
	if !ok {
		return link{}, false
	}
	u, ok := resolve(base, href)
	if !ok {
		return link{}, false
	}
	l := newLink(u)
	l.RequiresPython = a["data-requires-python"]
	l.YankedReason, l.Yanked = a["data-yanked"]
	metadata, ok := a["data-core-metadata"]
	if !ok {
		metadata = a["data-dist-info-metadata"]
	}
	if metadata != "" && metadata != "false" {
		l.CoreMetadata, l.MetadataHashes = true, fragmentHashes(metadata)
	}
	return l, true
}
