package local

import (
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// ecrOperations are the operations of ECR that are served.
func ecrOperations() map[string]operation {
	return map[string]operation{
		"GetAuthorizationToken": read(getAuthorizationToken),
		"CreateRepository":      change(createRepository),
		"DescribeRepositories":  read(describeRepositories),
		"DeleteRepository":      change(deleteRepository),
		"PutImageTagMutability": change(putImageTagMutability),
		"DescribeImages":        read(describeImages),
		"ListImages":            read(listImages),
		"BatchGetImage":         read(batchGetImage),
	}
}

// getAuthorizationToken gives user and password for the registry.
func getAuthorizationToken(c *call, _ *struct{}) (any, error) {
	// What is signed has whole seconds.
	expires := c.cloud.clock.Now().Add(tokenLife).Truncate(time.Second)
	token := base64.StdEncoding.EncodeToString([]byte("AWS:" + c.cloud.password(expires)))
	return map[string]any{"authorizationData": []any{map[string]any{
		"authorizationToken": token, "expiresAt": epoch(expires), "proxyEndpoint": c.cloud.URL(),
	}}}, nil
}

// repositoryRequest is the input of the operations on one repository.
type repositoryRequest struct {
	RegistryID string            `json:"registryId"`
	Name       string            `json:"repositoryName"`
	Mutability string            `json:"imageTagMutability"`
	Exclusions []exclusionFilter `json:"imageTagMutabilityExclusionFilters"`
	Scanning   struct {
		ScanOnPush bool `json:"scanOnPush"`
	} `json:"imageScanningConfiguration"`
	Tags  []struct{ Key, Value string } `json:"tags"` // ECR: Key and Value
	Force bool                          `json:"force"`
}

// ecrRepo finds the repository that a request names.
func (c *Cloud) ecrRepo(name, registry string) (*repository, error) {
	if registry != "" && registry != account {
		return nil, invalid("the local cloud has the registry %s only", account)
	}
	if r, ok := c.state.Repositories[name]; ok {
		return r, nil
	}
	return nil, refuse("RepositoryNotFoundException",
		"The repository with name '%s' does not exist in the registry with id '%s'", name, account)
}

// checkMutability validates a setting, "" being MUTABLE.
func checkMutability(setting string, exclusions []exclusionFilter) (string, error) {
	switch setting {
	case "", "MUTABLE":
		setting = "MUTABLE"
	case "IMMUTABLE", "IMMUTABLE_WITH_EXCLUSION", "MUTABLE_WITH_EXCLUSION":
	default:
		return "", invalid("Invalid parameter at 'imageTagMutability' failed to satisfy constraint: 'Member must satisfy enum value set: [MUTABLE, IMMUTABLE, IMMUTABLE_WITH_EXCLUSION, MUTABLE_WITH_EXCLUSION]'")
	}
	if strings.HasSuffix(setting, "_WITH_EXCLUSION") != (len(exclusions) > 0) {
		return "", invalid("imageTagMutabilityExclusionFilters go with IMMUTABLE_WITH_EXCLUSION and MUTABLE_WITH_EXCLUSION, and with these only")
	}
	for _, f := range exclusions {
		if f.FilterType != "WILDCARD" || f.Filter == "" || len(f.Filter) > 128 {
			return "", invalid("the exclusion filter %q is not valid: filterType must be WILDCARD", f.Filter)
		}
	}
	return setting, nil
}

func createRepository(c *call, in *repositoryRequest) (any, error) {
	if len(in.Name) < 2 || len(in.Name) > 256 || !repositoryName.MatchString(in.Name) {
		return nil, invalid("Invalid parameter at 'repositoryName' failed to satisfy constraint: 'must satisfy regular expression '%s''", repositoryName)
	}
	if _, ok := c.cloud.state.Repositories[in.Name]; ok {
		return nil, refuse("RepositoryAlreadyExistsException",
			"The repository with name '%s' already exists in the registry with id '%s'", in.Name, account)
	}
	mutability, err := checkMutability(in.Mutability, in.Exclusions)
	if err != nil {
		return nil, err
	}
	r := &repository{
		Name: in.Name, Arn: fmt.Sprintf("arn:aws:ecr:%s:%s:repository/%s", c.region, account, in.Name),
		CreatedAt: at(c.cloud.clock.Now()), Mutability: mutability, Exclusions: in.Exclusions,
		ScanOnPush: in.Scanning.ScanOnPush, Blobs: map[string]int64{}, Manifests: map[string]*manifest{}, Names: map[string]string{},
	}
	for _, t := range in.Tags {
		r.Tags = append(r.Tags, tag{t.Key, t.Value})
	}
	c.cloud.state.Repositories[in.Name] = r
	return map[string]any{"repository": c.cloud.describeRepo(r)}, nil
}

func (c *Cloud) describeRepo(r *repository) map[string]any {
	out := map[string]any{
		"repositoryArn": r.Arn, "registryId": account, "repositoryName": r.Name,
		"repositoryUri": c.address + "/" + r.Name, "createdAt": r.CreatedAt, "imageTagMutability": r.Mutability,
		"imageScanningConfiguration": map[string]bool{"scanOnPush": r.ScanOnPush},
		"encryptionConfiguration":    map[string]string{"encryptionType": "AES256"},
	}
	if len(r.Exclusions) > 0 {
		out["imageTagMutabilityExclusionFilters"] = r.Exclusions
	}
	return out
}

func describeRepositories(c *call, in *struct {
	RegistryID string   `json:"registryId"`
	Names      []string `json:"repositoryNames"`
	paging
}) (any, error) {
	names := in.Names
	if names == nil {
		names = sortedKeys(c.cloud.state.Repositories)
	}
	list := []any{}
	for _, n := range names {
		r, err := c.cloud.ecrRepo(n, in.RegistryID)
		if err != nil {
			return nil, err
		}
		list = append(list, c.cloud.describeRepo(r))
	}
	return page("repositories", list, in.paging, 1000, 1000)
}

func deleteRepository(c *call, in *repositoryRequest) (any, error) {
	r, err := c.cloud.ecrRepo(in.Name, in.RegistryID)
	if err != nil {
		return nil, err
	}
	if len(r.Manifests) > 0 && !in.Force {
		return nil, refuse("RepositoryNotEmptyException",
			"The repository with name '%s' in registry with id '%s' cannot be deleted because it still contains images", r.Name, account)
	}
	delete(c.cloud.state.Repositories, r.Name)
	return map[string]any{"repository": c.cloud.describeRepo(r)}, nil
}

func putImageTagMutability(c *call, in *repositoryRequest) (any, error) {
	r, err := c.cloud.ecrRepo(in.Name, in.RegistryID)
	if err != nil {
		return nil, err
	}
	if r.Mutability, err = checkMutability(in.Mutability, in.Exclusions); err != nil {
		return nil, err
	}
	r.Exclusions = in.Exclusions
	return map[string]any{"registryId": account, "repositoryName": r.Name, "imageTagMutability": r.Mutability,
		"imageTagMutabilityExclusionFilters": r.Exclusions}, nil
}

// imageID names an image by digest, by tag or by both.
type imageID struct {
	Digest string `json:"imageDigest,omitempty"`
	Tag    string `json:"imageTag,omitempty"`
}

// find returns the digest of an image that both members of id name.
func (r *repository) find(id imageID) (string, bool) {
	digest := id.Digest
	if id.Tag != "" {
		named, ok := r.Names[id.Tag]
		if !ok || (digest != "" && digest != named) {
			return "", false
		}
		digest = named
	}
	_, ok := r.Manifests[digest]
	return digest, ok
}

// tagsOf returns the tags of an image, in order.
func (r *repository) tagsOf(digest string) []string {
	var tags []string
	for t, d := range r.Names {
		if d == digest {
			tags = append(tags, t)
		}
	}
	slices.Sort(tags)
	return tags
}

// imagesRequest is the input of DescribeImages, ListImages and BatchGetImage.
type imagesRequest struct {
	RegistryID string    `json:"registryId"`
	Name       string    `json:"repositoryName"`
	IDs        []imageID `json:"imageIds"`
	Filter     tagFilter `json:"filter"`
	paging
}

// tagFilter chooses between tagged and untagged images.
type tagFilter struct {
	Status string `json:"tagStatus"` // TAGGED, UNTAGGED, ANY or ""
}

func (f tagFilter) allows(tagged bool) bool {
	return f.Status != "TAGGED" && f.Status != "UNTAGGED" || tagged == (f.Status == "TAGGED")
}

func describeImages(c *call, in *imagesRequest) (any, error) {
	r, err := c.cloud.ecrRepo(in.Name, in.RegistryID)
	if err != nil {
		return nil, err
	}
	var digests []string
	for _, id := range in.IDs {
		d, ok := r.find(id)
		if !ok {
			return nil, refuse("ImageNotFoundException",
				"The image with imageId {imageDigest:'%s', imageTag:'%s'} does not exist within the repository with name '%s' in the registry with id '%s'",
				orNull(id.Digest), orNull(id.Tag), r.Name, account)
		}
		digests = append(digests, d)
	}
	if in.IDs == nil {
		for _, d := range sortedKeys(r.Manifests) {
			if tagged := len(r.tagsOf(d)) > 0; in.Filter.allows(tagged) {
				digests = append(digests, d)
			}
		}
	}
	list := []any{}
	for _, d := range digests {
		list = append(list, r.describeImage(d))
	}
	return page("imageDetails", list, in.paging, 1000, 1000)
}

func orNull(s string) string {
	if s == "" {
		return "null"
	}
	return s
}

func (r *repository) describeImage(digest string) map[string]any {
	m := r.Manifests[digest]
	out := map[string]any{
		"registryId": account, "repositoryName": r.Name, "imageDigest": digest, "imagePushedAt": m.PushedAt,
		"imageSizeInBytes": m.ImageSize, "imageManifestMediaType": m.MediaType, "imageStatus": "ACTIVE",
	}
	if tags := r.tagsOf(digest); tags != nil {
		out["imageTags"] = tags
	}
	if kind := m.ArtifactType; kind != "" {
		out["artifactMediaType"] = kind
	} else if m.ConfigMediaType != "" {
		out["artifactMediaType"] = m.ConfigMediaType
	}
	if m.Subject != "" {
		out["subjectManifestDigest"] = m.Subject
	}
	return out
}

func listImages(c *call, in *imagesRequest) (any, error) {
	r, err := c.cloud.ecrRepo(in.Name, in.RegistryID)
	if err != nil {
		return nil, err
	}
	ids := []imageID{}
	for _, d := range sortedKeys(r.Manifests) {
		tags := r.tagsOf(d)
		if !in.Filter.allows(len(tags) > 0) {
			continue
		}
		if tags == nil {
			tags = []string{""}
		}
		for _, t := range tags {
			ids = append(ids, imageID{d, t})
		}
	}
	return page("imageIds", ids, in.paging, 1000, 1000)
}

func batchGetImage(c *call, in *imagesRequest) (any, error) {
	r, err := c.cloud.ecrRepo(in.Name, in.RegistryID)
	if err != nil {
		return nil, err
	}
	if len(in.IDs) > 100 {
		return nil, invalid("at most 100 images may be asked for")
	}
	images, failures := []any{}, []any{}
	for _, id := range in.IDs {
		digest, ok := r.find(id)
		var b []byte
		if ok {
			b, err = c.cloud.manifestBytes(digest)
		}
		if !ok || err != nil {
			failures = append(failures, map[string]any{"imageId": id, "failureCode": "ImageNotFound", "failureReason": "Requested image not found"})
			continue
		}
		images = append(images, map[string]any{
			"registryId": account, "repositoryName": r.Name, "imageId": imageID{digest, id.Tag},
			"imageManifest": string(b), "imageManifestMediaType": r.Manifests[digest].MediaType,
		})
	}
	return map[string]any{"images": images, "failures": failures}, nil
}

// imageReference is an image of a container definition: a repository of this
// registry, and a digest or a tag.
type imageReference struct{ repository, reference string }

// parseImage reads a container definition's image. Any loopback host is this
// registry, as its port may have changed since, and so is any ECR host.
func parseImage(image string) (imageReference, error) {
	host, rest, ok := strings.Cut(image, "/")
	if !ok || !(loopbackHost(host) || ecrHost(host)) {
		return imageReference{}, fmt.Errorf("failed to resolve ref %s: the local cloud runs images of its own registry only: push it there", image)
	}
	ref := imageReference{repository: rest, reference: "latest"}
	if name, digest, ok := strings.Cut(rest, "@"); ok {
		if _, err := v1.NewHash(digest); err != nil {
			return imageReference{}, fmt.Errorf("failed to resolve ref %s: %w", image, err)
		}
		ref = imageReference{name, digest}
	}
	if name, tag, ok := strings.Cut(ref.repository, ":"); ok {
		ref.repository = name
		if !strings.Contains(ref.reference, ":") {
			ref.reference = tag
		}
	}
	return ref, nil
}

func ecrHost(host string) bool {
	return strings.Contains(host, ".dkr.ecr.") || strings.Contains(host, ".dkr-ecr.")
}

// serveSTS answers GetCallerIdentity, the one operation of STS that tools call to
// learn the account (AWS query protocol).
func (c *Cloud) serveSTS(w http.ResponseWriter, r *http.Request, body []byte, requestID string) {
	form, err := url.ParseQuery(string(body))
	w.Header().Set("Content-Type", "text/xml")
	type failure struct {
		XMLName   xml.Name `xml:"ErrorResponse"`
		Type      string   `xml:"Error>Type"`
		Code      string   `xml:"Error>Code"`
		Message   string   `xml:"Error>Message"`
		RequestID string   `xml:"RequestId"`
	}
	type identity struct {
		XMLName   xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ GetCallerIdentityResponse"`
		Arn       string   `xml:"GetCallerIdentityResult>Arn"`
		UserID    string   `xml:"GetCallerIdentityResult>UserId"`
		Account   string   `xml:"GetCallerIdentityResult>Account"`
		RequestID string   `xml:"ResponseMetadata>RequestId"`
	}
	if err != nil || form.Get("Action") != "GetCallerIdentity" {
		w.WriteHeader(http.StatusBadRequest)
		xml.NewEncoder(w).Encode(failure{Type: "Sender", Code: "InvalidAction",
			Message: "the local cloud does not know the action " + form.Get("Action"), RequestID: requestID})
		return
	}
	xml.NewEncoder(w).Encode(identity{Arn: "arn:aws:iam::" + account + ":user/local", UserID: "LOCAL",
		Account: account, RequestID: requestID})
}
