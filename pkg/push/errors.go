package push

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// LatestError is that an image was to be pushed as `latest`: a tag that names
// another image tomorrow. It is wrong input: nothing was sent anywhere.
type LatestError struct{ Tag name.Tag }

func (e *LatestError) Error() string {
	return fmt.Sprintf("push %s: the tag latest is not pushed: it would have to move with the next push", e.Tag)
}

// Hint says which tag to use.
func (e *LatestError) Hint() string {
	return "give the image a tag of its own, such as a version or the commit: --tag 1.0"
}

// TagExistsError is that the tag already names another image.
type TagExistsError struct {
	Tag        name.Tag
	Have, Want v1.Hash // what the tag names, what was to be pushed
	Cause      error   // the registry's refusal, where it was the registry that noticed
}

func (e *TagExistsError) Error() string {
	return fmt.Sprintf("push %s: the tag already names %s, this image is %s", e.Tag, e.Have, e.Want)
}

// Unwrap gives the registry's own refusal, if there was one.
func (e *TagExistsError) Unwrap() error { return e.Cause }

// Hint says what to do instead of moving the tag.
func (e *TagExistsError) Hint() string {
	return fmt.Sprintf("tags do not move: push under a new tag, or deploy what is there as %s@%s", e.Tag.Context(), e.Have)
}

// RepositoryNotFoundError is that the registry knows no such repository, and
// makes none by being pushed to.
type RepositoryNotFoundError struct {
	Repository name.Repository
	Cause      error
}

func (e *RepositoryNotFoundError) Error() string {
	return fmt.Sprintf("push to %s: repository %s does not exist in registry %s",
		e.Repository, e.Repository.RepositoryStr(), e.Repository.RegistryStr())
}

// Unwrap gives the registry's answer.
func (e *RepositoryNotFoundError) Unwrap() error { return e.Cause }

// Hint says how to have the repository made.
func (e *RepositoryNotFoundError) Hint() string {
	return "make it first, or let boyabuild make it in ECR with --create-repository"
}

// ImageNotFoundError is that there is no image of a name, or none for a platform.
type ImageNotFoundError struct {
	Reference name.Reference
	Platform  *v1.Platform // what the image is not for; nil if there is no image at all
	Cause     error        // the registry's answer, where it was that
}

func (e *ImageNotFoundError) Error() string {
	if e.Platform != nil {
		return fmt.Sprintf("read image %s: it is not for %s", e.Reference, e.Platform)
	}
	return fmt.Sprintf("read image %s: the registry has no such image", e.Reference)
}

// Hint says what to look at.
func (e *ImageNotFoundError) Hint() string {
	if e.Platform != nil {
		return "build for a platform that it has: --platform"
	}
	return "is the name right, and its tag?"
}

// Unwrap gives the registry's answer, if there was one.
func (e *ImageNotFoundError) Unwrap() error { return e.Cause }

// RegistryError is any other answer of a registry, or no answer.
type RegistryError struct {
	Repository name.Repository
	Reading    bool   // by Fetch or Newest; else a push
	Doing      string // "look at tag 1.0", "send blob sha256:…"
	Cause      error
}

func (e *RegistryError) Error() string {
	activity := "push to"
	if e.Reading {
		activity = "read"
	}
	return fmt.Sprintf("%s %s: %s: %s", activity, e.Repository, e.Doing, causeText(e.Cause))
}

// Unwrap gives the cause.
func (e *RegistryError) Unwrap() error { return e.Cause }

// Hint says what to do about a refusal of the credentials; "" where there is
// nothing to say.
func (e *RegistryError) Hint() string {
	var t *transport.Error
	if !errors.As(e.Cause, &t) {
		return ""
	}
	registry := e.Repository.RegistryStr()
	switch t.StatusCode {
	case http.StatusUnauthorized:
		return fmt.Sprintf("%s wants credentials that it did not get or does not accept: AWS credentials for ECR, or docker login %s", registry, registry)
	case http.StatusForbidden:
		if e.Reading {
			return fmt.Sprintf("these credentials may not read %s: reading from ECR needs the ecr: actions BatchGetImage, GetDownloadUrlForLayer and ListImages", e.Repository)
		}
		return fmt.Sprintf("these credentials may not do this in %s: pushing to ECR needs the ecr: actions BatchCheckLayerAvailability, BatchGetImage, InitiateLayerUpload, UploadLayerPart, CompleteLayerUpload and PutImage", registry)
	case http.StatusTooManyRequests:
		return "the registry limits how often it is asked: try again in a minute"
	}
	return ""
}

// failed gives an error on the way to the registry its place and its type. One
// that has them, or that is about an image and not the registry, stays as it is.
func (c *connection) failed(doing string, err error) error {
	if err == nil {
		return nil
	}
	var content *contentError
	if errors.As(err, &content) {
		return fmt.Errorf("push to %s: %w", c.repo, content)
	}
	if hasCode(err, transport.NameUnknownErrorCode) {
		return &RepositoryNotFoundError{Repository: c.repo, Cause: err}
	}
	return &RegistryError{Repository: c.repo, Doing: doing, Cause: err}
}

func hasCode(err error, code transport.ErrorCode) bool {
	var t *transport.Error
	return errors.As(err, &t) && slices.ContainsFunc(t.Errors, func(d transport.Diagnostic) bool { return d.Code == code })
}

// causeText is the part of an error that a person reads: without the URL that
// stands before a registry's answer or for want of one, for the URL of an upload
// may be all that it takes to write there; and on one line.
func causeText(err error) string {
	if errors.Is(err, context.Canceled) {
		return "interrupted"
	}
	var t *transport.Error
	var u *url.Error
	text := err.Error()
	switch {
	case errors.As(err, &t):
		bare := *t
		bare.Request = nil
		text = bare.Error()
	case errors.As(err, &u):
		text = u.Err.Error()
	}
	return strings.Join(strings.Fields(text), " ")
}

func isNotFound(err error) bool {
	var t *transport.Error
	return errors.As(err, &t) && t.StatusCode == http.StatusNotFound
}
