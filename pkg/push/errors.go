package push

import (
	"context"
	"errors"
	"fmt"
	"net/http"
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

// RegistryError is any other answer of a registry, or no answer.
type RegistryError struct {
	Repository name.Repository
	Doing      string // "look at tag 1.0", "send blob sha256:…"
	Cause      error
}

func (e *RegistryError) Error() string {
	return fmt.Sprintf("push to %s: %s: %s", e.Repository, e.Doing, causeText(e.Cause))
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
		return fmt.Sprintf("these credentials may not do this in %s: pushing to ECR needs the ecr: actions BatchCheckLayerAvailability, BatchGetImage, InitiateLayerUpload, UploadLayerPart, CompleteLayerUpload and PutImage", registry)
	case http.StatusTooManyRequests:
		return "the registry limits how often it is asked: try again in a minute"
	}
	return ""
}

// registryError gives an error of go-containerregistry its place and its type.
func (p *pusher) registryError(doing string, err error) error {
	if err == nil {
		return nil
	}
	var t *transport.Error
	if errors.As(err, &t) {
		for _, d := range t.Errors {
			if d.Code == transport.NameUnknownErrorCode {
				return &RepositoryNotFoundError{Repository: p.repo, Cause: err}
			}
		}
	}
	return &RegistryError{Repository: p.repo, Doing: doing, Cause: err}
}

// causeText is the part of an error that a person reads: without the URL that
// go-containerregistry puts before a registry's answer, and on one line.
func causeText(err error) string {
	if errors.Is(err, context.Canceled) {
		return "interrupted"
	}
	var t *transport.Error
	text := err.Error()
	if errors.As(err, &t) {
		bare := *t
		bare.Request = nil
		text = bare.Error()
	}
	return strings.Join(strings.Fields(text), " ")
}

func isNotFound(err error) bool {
	var t *transport.Error
	return errors.As(err, &t) && t.StatusCode == http.StatusNotFound
}
