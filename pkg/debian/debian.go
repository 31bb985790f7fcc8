// Package debian makes file trees of Debian packages, without dpkg, apt, root
// or a container.
//
// In goes a [Spec]: a suite, an architecture and the names of packages. The
// suite's index is fetched from a Debian archive and its signature checked
// ([Resolve]); the packages and what they depend on become a [Lock], which
// names each by version and SHA-256; and the locked packages are fetched,
// checked, unpacked and put together as the root of an image ([Assemble]): two
// [layers.Tree], one of what every image needs and one of what was asked for.
//
//	Spec ─Resolve─▶ Lock ─Assemble─▶ Root (os, packages)
//
// Maintainer scripts are never run. What they would have done for a root that
// runs programs (users, certificates, time zone, links of the merged /usr) is
// done here; what they would have done beyond that, such as alternatives and
// debconf questions, is not.
//
// The package knows no mirror: the caller gives the host's apt sources
// ([ReadSources]) or an address. It reads no environment and no clock but to
// check that an index has not expired, and never holds a package's files in
// memory.
package debian

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Rules numbers the rules by which packages become a root: what is dropped,
// pruned and added. It is part of a [Lock], and changes whenever the same
// packages would give another tree.
const Rules = 1

// Cache keeps what was downloaded, under its SHA-256. A store of this project
// is one.
type Cache interface {
	// Has says whether the content is there.
	Has(h v1.Hash) bool
	// Put keeps all of r; with want, only if that is its hash.
	Put(ctx context.Context, r io.Reader, want *v1.Hash) (v1.Hash, int64, error)
	// Blob opens a kept content and tells its size.
	Blob(h v1.Hash) (io.ReadCloser, int64, error)
}

// Options are what a call works with.
type Options struct {
	// Client does the requests; nil is a client with Go's defaults.
	Client *http.Client
	// Cache keeps indexes and packages. Required.
	Cache Cache
	// Scratch is the directory for a root's unpacked packages and for indexes
	// while they are looked into; "" is the system's directory for temporary
	// files.
	Scratch string
	// Host are the host's apt sources, from which the mirror is taken where
	// neither the Spec nor Mirror names one.
	Host HostSources
	// Mirror is the address of a Debian archive, or two separated by a comma,
	// the second that of the security archive. It beats Host.
	Mirror string
	// Keyring alone is trusted where a Spec names none; nil is [ArchiveKeyring]
	// with the keys that the host trusts for its Debian archive.
	Keyring Keyring
	// Now is the time against which indexes must be valid; zero is the clock.
	Now time.Time
	// Log takes a line for each step; nil discards them.
	Log *slog.Logger
	// Progress opens a bar for the download of total bytes (-1: unknown);
	// each Write advances it and Close ends it. Nil shows none.
	Progress func(what string, total int64) io.WriteCloser
}

func (o Options) now() time.Time {
	if o.Now.IsZero() {
		return time.Now()
	}
	return o.Now
}

func (o Options) log() *slog.Logger {
	if o.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return o.Log
}

func (o Options) client() *http.Client {
	if o.Client == nil {
		return http.DefaultClient
	}
	return o.Client
}

func (o Options) progress(what string, total int64) io.WriteCloser {
	return OpenBar(o.Progress, what, total)
}

// OpenBar opens a bar with an [Options].Progress, or one that shows nothing
// where that is nil or gives none.
func OpenBar(progress func(what string, total int64) io.WriteCloser, what string, total int64) io.WriteCloser {
	if progress != nil {
		if bar := progress(what, total); bar != nil {
			return bar
		}
	}
	return noBar{}
}

type noBar struct{}

func (noBar) Write(p []byte) (int, error) { return len(p), nil }
func (noBar) Close() error                { return nil }
