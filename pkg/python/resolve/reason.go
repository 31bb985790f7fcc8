package resolve

import (
	"fmt"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/python"
)

// reason is why a version cannot be used. Versions with equal reasons are told
// together.
type reason struct {
	kind   reasonKind
	detail string
}

type reasonKind uint8

// The kinds are in the order of the checks: of the files of a version, the one
// that got furthest tells what is wrong.
const (
	tooNew reasonKind = iota + 1
	undated
	wrongPython // Requires-Python
	onlySdist
	sdistForbidden   // --only-binary
	sdistFormat      // an sdist that is neither .tar.gz nor .zip
	wrongInterpreter // no wheel for this Python
	wrongPlatform    // no wheel for this platform
	yanked
	otherHash
	preRelease
	badMetadata
	hiddenMetadata // dynamic, and nothing can be built
	foreignURL
	sourceOnly // --no-binary
	notHashed  // not listed, where every file must be listed with a hash
)

// text tells the reason of versions as the end of a sentence about them.
func (r *rules) text(why reason, plural bool) string {
	has, needs, was, is := "has", "needs", "was", "is"
	if plural {
		has, needs, was, is = "have", "need", "were", "are"
	}
	switch why.kind {
	case tooNew:
		return fmt.Sprintf("%s not uploaded before %s", was, why.detail)
	case undated:
		return fmt.Sprintf("%s no upload time on the index, without which newer files cannot be excluded", has)
	case wrongPython:
		return fmt.Sprintf("%s Python %s (this is %s)", needs, why.detail, r.target.Python)
	case onlySdist:
		return has + " only an sdist and no wheel"
	case wrongInterpreter:
		return fmt.Sprintf("%s no wheel for %s", has, interpreter(r.target))
	case wrongPlatform:
		return fmt.Sprintf("%s no wheel for %s", has, platform(r.target))
	case yanked:
		if why.detail != "" {
			return fmt.Sprintf("%s yanked (%s)", was, strings.TrimSpace(why.detail))
		}
		return was + " yanked"
	case otherHash:
		return has + " no wheel with one of the hashes that are required"
	case preRelease:
		return map[bool]string{false: "is a pre-release", true: "are pre-releases"}[plural]
	case badMetadata:
		return fmt.Sprintf("%s metadata that cannot be used (%s)", has, why.detail)
	case foreignURL:
		return fmt.Sprintf("%s %s, and only your own requirements may name a URL", map[bool]string{false: "depends on", true: "depend on"}[plural], why.detail)
	case sourceOnly:
		return r.fromSource(has, is)
	case sdistForbidden:
		return has + " only an sdist and no wheel (--only-binary)"
	case sdistFormat:
		return fmt.Sprintf("%s only an sdist that cannot be read: %s", has, why.detail)
	case hiddenMetadata:
		return fmt.Sprintf("%s only an sdist that does not say what it needs until it is built, which is not done here", has)
	case notHashed:
		return is + " not among the requirements, which must list all packages with their hashes"
	}
	return is + " not usable"
}

// fromSource words what --no-binary means for versions that have no sdist, or
// where none can be built.
func (r *rules) fromSource(has, is string) string {
	if r.options.Build {
		return has + " no sdist, and --no-binary forbids its wheels"
	}
	return fmt.Sprintf("%s to be built from source (--no-binary), which is not done here", is)
}

func interpreter(t python.Target) string {
	text, _, _ := strings.Cut(t.String(), " on ")
	return text
}

func platform(t python.Target) string {
	_, text, _ := strings.Cut(t.String(), " on ")
	return text
}
