package push

import (
	"cmp"
	"context"
	"regexp"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// What is looked at of a repository's list of tags: registries give at most 1,000
// a page.
const (
	maxTags  = 10_000
	maxPages = 100
)

// Newest returns the tag of a repository's newest image, as far as tags tell; ""
// if it has none but except, or does not exist. Tags that are versions are above
// names such as main, and those above digests of commits; among each the highest
// counts.
//
//   - A version begins with a number, or with v and a number. Numbers count as
//     numbers: 1.10 is above 1.9, and a date above one before it.
//   - A version with more to it is above the one without, 1.0.1, 1.0-2 and
//     1.0.post1 above 1.0, unless what comes next marks a pre-release, which is
//     below: dev, a or alpha, b or beta, pre or preview, rc or c, in this order,
//     and snapshot, as dev.
//   - The digest of a commit is 7 to 64 hexadecimal digits with a letter and a
//     number among them, maybe after sha-, git- or commit-.
//   - Tags under which signatures and the like are kept (sha256-…) are no images.
//
// At most 10,000 tags are looked at. The error is a *RegistryError.
func Newest(ctx context.Context, repo name.Repository, except string, o Options) (string, error) {
	c := o.connection(repo, transport.PullScope)
	best := ""
	err := c.tags(ctx, func(tag string) {
		if tag != except && !referrerTag.MatchString(tag) && (best == "" || compareTags(tag, best) > 0) {
			best = tag
		}
	})
	switch {
	case err == nil:
		return best, nil
	case isNotFound(err):
		return "", nil
	}
	return "", &RegistryError{Repository: repo, Reading: true, Doing: "its tags", Cause: err}
}

// tags gives each tag of the repository.
func (c *connection) tags(ctx context.Context, each func(string)) error {
	l, err := c.login(ctx)
	if err != nil {
		return err
	}
	lister, err := l.reads.Lister(ctx, c.repo)
	if err != nil {
		return err
	}
	seen := 0
	for pages := 0; lister.HasNext() && seen < maxTags && pages < maxPages; pages++ {
		page, err := lister.Next(ctx)
		if err != nil {
			return err
		}
		for _, tag := range page.Tags {
			each(tag)
		}
		seen += len(page.Tags)
	}
	return nil
}

var (
	versionTag  = regexp.MustCompile(`^[vV]?[0-9]`)
	commitTag   = regexp.MustCompile(`^(?:(?:sha|git|commit)-)?([0-9a-f]{7,64})$`)
	referrerTag = regexp.MustCompile(`^sha(?:256|512)-[0-9a-f]{64}`) // OCI distribution specification, "Referrers Tag Schema"; cosign's
	pieceOfTag  = regexp.MustCompile(`[0-9]+|[A-Za-z]+`)
)

const (
	commitRank = iota
	nameRank
	versionRank
)

// rank says what a tag is.
func rank(tag string) int {
	if m := commitTag.FindStringSubmatch(tag); m != nil && strings.ContainsAny(m[1], "abcdef") && strings.ContainsAny(m[1], "0123456789") {
		return commitRank
	}
	if versionTag.MatchString(tag) {
		return versionRank
	}
	return nameRank
}

// compareTags orders tags; only the same one is equal.
func compareTags(a, b string) int {
	if c := cmp.Compare(rank(a), rank(b)); c != 0 {
		return c
	}
	if rank(a) == commitRank {
		return cmp.Compare(a, b) // no order but this
	}
	x, y := pieces(a), pieces(b)
	for i := range max(len(x), len(y)) {
		// The end of a tag is a piece of its own between pre-releases and all else.
		if c := comparePieces(piece(x, i), piece(y, i)); c != 0 {
			return c
		}
	}
	return cmp.Compare(a, b)
}

// pieces are the numbers and words of a tag, without the v before a version.
func pieces(tag string) []string {
	if versionTag.MatchString(tag) {
		tag = strings.TrimLeft(tag, "vV")
	}
	return pieceOfTag.FindAllString(strings.ToLower(tag), -1)
}

func piece(of []string, i int) string {
	if i < len(of) {
		return of[i]
	}
	return ""
}

func comparePieces(a, b string) int {
	ra, rb := rankOfPiece(a), rankOfPiece(b)
	if ra != rb || ra != numberPiece {
		return cmp.Or(cmp.Compare(ra, rb), compareWords(ra, a, b))
	}
	// Numbers of any length, leading zeros aside.
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
}

// compareWords orders other words than those of pre-releases by their letters.
func compareWords(rank int, a, b string) int {
	if rank == wordPiece {
		return cmp.Compare(a, b)
	}
	return 0
}

const (
	endPiece = iota
	wordPiece
	numberPiece
)

// rankOfPiece orders what may come next in a version: PEP 440, "Summary of
// permitted suffixes and relative ordering", where a number goes on above all.
func rankOfPiece(s string) int {
	switch s {
	case "":
		return endPiece
	case "dev", "snapshot":
		return -5
	case "a", "alpha":
		return -4
	case "b", "beta":
		return -3
	case "pre", "preview":
		return -2
	case "c", "rc":
		return -1
	}
	if s[0] >= '0' && s[0] <= '9' {
		return numberPiece
	}
	return wordPiece
}
