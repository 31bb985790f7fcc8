package index

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"

	"github.com/boyabuild/boyabuild/pkg/python"
)

// isUnlisted reports whether a refusal (403, and no credentials were sent)
// stands for "no such project". Indexes that are plain folders of an object
// store answer so to every name that they do not have; but so does an index that
// we may not read, and to go on to the next one then would let a public project
// take the place of a private one. So the index's own list of projects (PEP 503)
// decides, if it may be read and the name is not on it.
func (c *Client) isUnlisted(ctx context.Context, i Index, name string, err error) bool {
	var refused *AuthError
	if !errors.As(err, &refused) || refused.Status != http.StatusForbidden || refused.Sent {
		return false
	}
	known, err := c.projects.do(ctx, i.URL, func(ctx context.Context) (map[string]bool, error) { return c.readProjects(ctx, i) })
	if err != nil {
		c.log.Debug(fmt.Sprintf("read the projects of %s: %v", i.Name, err))
		return false
	}
	unlisted := len(known) > 0 && !known[name]
	if unlisted {
		c.log.Debug(fmt.Sprintf("%s answers 403 to %s, which is not among its projects", i.Name, name))
	}
	return unlisted
}

// readProjects reads the names on the root page of an index.
func (c *Client) readProjects(ctx context.Context, i Index) (map[string]bool, error) {
	root, err := url.Parse(i.URL)
	if err != nil {
		return nil, redactURLError(err)
	}
	doc, err := c.document(ctx, root.JoinPath("/"))
	if err != nil {
		return nil, err
	}
	isJSON, err := doc.isJSON()
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	if isJSON {
		var page struct {
			Projects []struct {
				Name string `json:"name"`
			} `json:"projects"`
		}
		if err := json.Unmarshal(doc.body, &page); err != nil {
			return nil, err
		}
		for _, p := range page.Projects {
			names[python.NormalizeName(p.Name)] = true
		}
		return names, nil
	}
	links, err := parseHTML(doc.body, doc.base)
	if err != nil {
		return nil, err
	}
	for _, l := range links {
		if u, err := url.Parse(l.URL); err == nil {
			names[python.NormalizeName(path.Base(u.Path))] = true
		}
	}
	return names, nil
}
