//go:build !unix

package dockerignore

// nonblock is for systems whose named pipes are no files.
const nonblock = 0
