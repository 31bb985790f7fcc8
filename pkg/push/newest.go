package push

import (
	"cmp"
	"context"
	"regexp"
	"strconv"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// maxTags bounds how many tags of a repository are looked at.
const maxTags = 10_000

// Newest returns the tag of a repository's newest image, as far as tags tell:
// the highest version among them but except. Numbers in tags count as numbers
// (1.10 is above 1.9), what is marked as a pre-release is below its release, and
// tags that are no versions, such as commits and branches, are below all that are. ""
// says that there is none; so does a repository that does not exist.
func Newest(ctx context.Context, repo name.Repository, except string, o Options) (string, error) {
	p, err := newPusher(ctx, repo, o)
	if err != nil {
		return "", err
	}
	lister, err := p.puller.Lister(ctx, repo)
	best := ""
	for seen := 0; err == nil && lister.HasNext() && seen < maxTags; {
		var page *remote.Tags
		if page, err = lister.Next(ctx); err != nil {
			break
		}
		for _, tag := range page.Tags {
			if tag != except && (best == "" || compareTags(tag, best) > 0) {
				best = tag
			}
		}
		seen += len(page.Tags)
	}
	if isNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", p.registryError("list its tags", err)
	}
	return best, nil
}

var versionTag = regexp.MustCompile(`^[vV]?[0-9]+([.\-_][0-9]+)*([.\-_+]?[0-9A-Za-z.\-_]*)?$`)

// isVersion says whether a tag is a version: it begins with a number, and is not
// the digest of a commit.
func isVersion(tag string) bool {
	if len(tag) >= 7 && !strings.ContainsAny(tag, ".-_") {
		if _, err := strconv.ParseInt(tag, 10, 64); err != nil { // a date is a number
			return false
		}
	}
	return versionTag.MatchString(tag)
}

// compareTags orders tags by the versions that they are.
func compareTags(a, b string) int {
	va, vb := isVersion(a), isVersion(b)
	if va != vb {
		if va {
			return 1
		}
		return -1
	}
	if !va {
		return cmp.Compare(a, b)
	}
	x, y := pieces(a), pieces(b)
	for i := range max(len(x), len(y)) {
		switch {
		case i == len(x):
			return -after(y[i])
		case i == len(y):
			return after(x[i])
		}
		if c := comparePieces(x[i], y[i]); c != 0 {
			return c
		}
	}
	return cmp.Compare(a, b)
}

// after says whether a version with one piece more is above (1) or below (-1)
// the one without: "1.0rc1" is below "1.0", and "1.0.1" above.
func after(piece string) int {
	if piece[0] >= '0' && piece[0] <= '9' {
		return 1
	}
	switch strings.ToLower(piece) {
	case "a", "alpha", "b", "beta", "c", "rc", "pre", "preview", "dev", "snapshot":
		return -1
	}
	return 1
}

func comparePieces(a, b string) int {
	na, errA := strconv.ParseUint(a, 10, 64)
	nb, errB := strconv.ParseUint(b, 10, 64)
	switch {
	case errA == nil && errB == nil:
		return cmp.Compare(na, nb)
	case errA == nil: // a number against a word
		return -after(b)
	case errB == nil:
		return after(a)
	}
	if x, y := after(a), after(b); x != y {
		return cmp.Compare(x, y)
	}
	return cmp.Compare(strings.ToLower(a), strings.ToLower(b))
}

var piece = regexp.MustCompile(`[0-9]+|[A-Za-z]+`)

// pieces are the numbers and words of a tag, without the "v" before a version.
func pieces(tag string) []string {
	return piece.FindAllString(strings.TrimLeft(tag, "vV"), -1)
}
