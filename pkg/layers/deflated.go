package layers

import "io"

// Deflated is a Content that is kept deflated (RFC 1951), as the files of zip
// archives are. [Write] puts its deflate stream into a gzip layer as it is, and
// only inflates it, for the layer's sums and to see that it is what it should be.
type Deflated interface {
	Content
	// DeflatedSize returns how many bytes the stream has; false says that
	// this content is not kept deflated after all.
	DeflatedSize() (int64, bool)
	// OpenDeflated opens the stream. Like Open it may be called any number
	// of times, by several goroutines at once.
	OpenDeflated() (DeflatedReader, error)
}

// DeflatedReader reads one deflate stream of exactly the announced length.
// Whoever reads it inflates it and shows the reader what comes out, so that a
// content that knows its sum can check it, as it does for [Content.Open].
type DeflatedReader interface {
	io.ReadCloser
	// Inflated takes the next inflated bytes, and does not keep them.
	Inflated(p []byte)
	// Finish is called once, behind the last of them. Its argument says why
	// the stream cannot be inflated, if so. What it returns, in the content's
	// own words, is the error of the whole: nil only if all is right.
	Finish(err error) error
}
