package local

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	gtypes "github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

func codeOf(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	var reg *transport.Error
	if errors.As(err, &reg) && len(reg.Errors) > 0 {
		return fmt.Sprintf("%d %s", reg.StatusCode, reg.Errors[0].Code)
	}
	return fmt.Sprint(err)
}

func wantCode(t *testing.T, err error, want string) {
	t.Helper()
	if got := codeOf(err); got != want {
		t.Errorf("got %s (%v), want %s", got, err, want)
	}
}

func TestPushAndPull(t *testing.T) {
	r := newRig(t, Options{})
	r.createRepository("team/web")
	img := image(t, map[string][]byte{"hello": []byte("hello\n")}, "/hello")
	ref := r.mustPush("team/web", "1.0", img)
	pulled, err := remote.Image(must(name.ParseReference(ref)), remote.WithAuth(r.login()))
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(pulled); err != nil {
		t.Error(err)
	}
	digest := must(img.Digest()).String()
	described, err := r.ecr.DescribeImages(t.Context(), &ecr.DescribeImagesInput{RepositoryName: aws.String("team/web"),
		ImageIds: []types.ImageIdentifier{{ImageTag: aws.String("1.0")}}})
	if err != nil {
		t.Fatal(err)
	}
	if d := described.ImageDetails[0]; *d.ImageDigest != digest || !slices.Equal(d.ImageTags, []string{"1.0"}) ||
		d.ImageStatus != types.ImageStatusActive || *d.ImageSizeInBytes <= 0 {
		t.Errorf("described as %+v", d)
	}
	got, err := r.ecr.BatchGetImage(t.Context(), &ecr.BatchGetImageInput{RepositoryName: aws.String("team/web"),
		ImageIds: []types.ImageIdentifier{{ImageTag: aws.String("1.0")}, {ImageTag: aws.String("2.0")}}})
	if err != nil {
		t.Fatal(err)
	}
	if manifest := must(img.RawManifest()); *got.Images[0].ImageManifest != string(manifest) || len(got.Failures) != 1 {
		t.Errorf("got %+v", got)
	}
	list, err := r.ecr.ListImages(t.Context(), &ecr.ListImagesInput{RepositoryName: aws.String("team/web")})
	if err != nil || len(list.ImageIds) != 1 {
		t.Errorf("list: %+v, %v", list, err)
	}
	_, err = r.ecr.DescribeImages(t.Context(), &ecr.DescribeImagesInput{RepositoryName: aws.String("team/web"),
		ImageIds: []types.ImageIdentifier{{ImageTag: aws.String("9")}}})
	wantCode(t, err, "ImageNotFoundException")
	_, err = r.ecr.DescribeRepositories(t.Context(), &ecr.DescribeRepositoriesInput{RepositoryNames: []string{"nobody"}})
	wantCode(t, err, "RepositoryNotFoundException")
	_, err = r.ecr.CreateRepository(t.Context(), &ecr.CreateRepositoryInput{RepositoryName: aws.String("team/web")})
	wantCode(t, err, "RepositoryAlreadyExistsException")
	_, err = r.ecr.DeleteRepository(t.Context(), &ecr.DeleteRepositoryInput{RepositoryName: aws.String("team/web")})
	wantCode(t, err, "RepositoryNotEmptyException")
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestImmutableTags(t *testing.T) {
	a, b := image(t, nil, "a"), image(t, nil, "b")
	filters := []types.ImageTagMutabilityExclusionFilter{{FilterType: types.ImageTagMutabilityExclusionFilterTypeWildcard, Filter: aws.String("dev-*")}}
	for _, tt := range []struct {
		setting types.ImageTagMutability
		filters []types.ImageTagMutabilityExclusionFilter
		tag     string
		same    int // of PUT with the same manifest
		other   string
	}{
		{types.ImageTagMutabilityMutable, nil, "1.0", 201, "<nil>"},
		{types.ImageTagMutabilityImmutable, nil, "1.0", 400, "400 TAG_INVALID"},
		{types.ImageTagMutabilityImmutableWithExclusion, filters, "1.0", 400, "400 TAG_INVALID"},
		{types.ImageTagMutabilityImmutableWithExclusion, filters, "dev-1", 201, "<nil>"},
		{types.ImageTagMutabilityMutableWithExclusion, filters, "1.0", 201, "<nil>"},
		{types.ImageTagMutabilityMutableWithExclusion, filters, "dev-1", 400, "400 TAG_INVALID"},
	} {
		t.Run(string(tt.setting)+" "+tt.tag, func(t *testing.T) {
			r := newRig(t, Options{})
			_, err := r.ecr.CreateRepository(t.Context(), &ecr.CreateRepositoryInput{RepositoryName: aws.String("web"),
				ImageTagMutability: tt.setting, ImageTagMutabilityExclusionFilters: tt.filters})
			if err != nil {
				t.Fatal(err)
			}
			r.mustPush("web", tt.tag, a)
			if _, err = r.push("web", tt.tag, a); err != nil { // it looks first
				t.Error(err)
			}
			auth := must(r.login().Authorization())
			req := must(http.NewRequest("PUT", r.URL()+"/v2/web/manifests/"+tt.tag, bytes.NewReader(must(a.RawManifest()))))
			req.SetBasicAuth(auth.Username, auth.Password)
			req.Header.Set("Content-Type", string(must(a.MediaType())))
			resp := must(http.DefaultClient.Do(req))
			resp.Body.Close()
			if resp.StatusCode != tt.same {
				t.Errorf("the same again: %s", resp.Status)
			}
			_, err = r.push("web", tt.tag, b)
			wantCode(t, err, tt.other)
			if tt.other != "<nil>" {
				want := fmt.Sprintf("The image tag '%s' already exists in the 'web' repository and cannot be overwritten because the tag is immutable.", tt.tag)
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q lacks %q", err, want)
				}
			}
		})
	}
}

func TestRegistryRefusals(t *testing.T) {
	r := newRig(t, Options{})
	r.createRepository("web")
	_, err := r.push("absent", "1", image(t, nil, "a"))
	wantCode(t, err, "404 NAME_UNKNOWN")
	auth := must(r.login().Authorization())
	send := func(method, path, contentType string, body []byte) (int, string) {
		t.Helper()
		req := must(http.NewRequest(method, r.URL()+path, bytes.NewReader(body)))
		req.SetBasicAuth(auth.Username, auth.Password)
		req.Header.Set("Content-Type", contentType)
		resp := must(http.DefaultClient.Do(req))
		defer resp.Body.Close()
		return resp.StatusCode, string(must(io.ReadAll(resp.Body)))
	}
	index := must(mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: image(t, nil, "a")}).RawManifest())
	manifest := must(image(t, nil, "a").RawManifest())
	zero := "sha256:" + strings.Repeat("0", 64)
	for _, tt := range []struct {
		name, method, path, contentType string
		body                            []byte
		status                          int
		code                            string
	}{
		{"layers missing", "PUT", "/v2/web/manifests/1", string(gtypes.DockerManifestSchema2), manifest, 404, "MANIFEST_BLOB_UNKNOWN"},
		{"children missing", "PUT", "/v2/web/manifests/1", string(gtypes.OCIImageIndex), index, 404, "MANIFEST_BLOB_UNKNOWN"},
		{"not JSON", "PUT", "/v2/web/manifests/1", string(gtypes.OCIManifestSchema1), []byte("x"), 405, "UNSUPPORTED"},
		{"unknown type", "PUT", "/v2/web/manifests/1", "text/plain", []byte(`{"schemaVersion":2,"mediaType":"text/plain"}`), 405, "UNSUPPORTED"},
		{"other digest", "PUT", "/v2/web/manifests/" + zero, string(gtypes.DockerManifestSchema2), manifest, 400, "DIGEST_INVALID"},
		{"bad tag", "PUT", "/v2/web/manifests/-x", string(gtypes.DockerManifestSchema2), manifest, 400, "TAG_INVALID"},
		{"absent manifest", "GET", "/v2/web/manifests/9", "", nil, 404, "MANIFEST_UNKNOWN"},
		{"absent blob", "GET", "/v2/web/blobs/" + zero, "", nil, 404, "BLOB_UNKNOWN"},
		{"bad digest", "GET", "/v2/web/blobs/x", "", nil, 400, "DIGEST_INVALID"},
		{"absent upload", "PATCH", "/v2/web/blobs/uploads/x", "", nil, 404, "BLOB_UPLOAD_UNKNOWN"},
		{"wrong digest", "POST", "/v2/web/blobs/uploads/?digest=" + zero, "", []byte("x"), 400, "BLOB_UPLOAD_INVALID"},
		{"delete", "DELETE", "/v2/web/manifests/9", "", nil, 405, "UNSUPPORTED"},
		{"path", "GET", "/v2/web/../../state.json", "", nil, 404, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, body := send(tt.method, tt.path, tt.contentType, tt.body)
			if status != tt.status || !strings.Contains(body, tt.code) {
				t.Errorf("got %d %s, want %d %s", status, body, tt.status, tt.code)
			}
		})
	}
	auth.Password = r.password(r.clock.Now().Add(-time.Second))
	if status, body := send("GET", "/v2/", "", nil); status != 403 || !strings.Contains(body, "expired") {
		t.Errorf("expired token: %d %s", status, body)
	}
	auth.Password = "0." + strings.Repeat("0", 64)
	if status, _ := send("GET", "/v2/", "", nil); status != 401 {
		t.Errorf("forged token: %d", status)
	}
}

func TestUploadInParts(t *testing.T) {
	r := newRig(t, Options{})
	r.createRepository("web")
	r.createRepository("other")
	auth := must(r.login().Authorization())
	send := func(method, url, span, body string) *http.Response {
		t.Helper()
		req := must(http.NewRequest(method, url, strings.NewReader(body)))
		req.SetBasicAuth(auth.Username, auth.Password)
		if span != "" {
			req.Header.Set(map[bool]string{true: "Range", false: "Content-Range"}[method == "GET"], span)
		}
		resp := must(http.DefaultClient.Do(req))
		t.Cleanup(func() { resp.Body.Close() })
		return resp
	}
	h, _, _ := v1.SHA256(strings.NewReader("hello world"))
	resp := send("POST", r.URL()+"/v2/web/blobs/uploads/", "", "")
	at := r.URL() + resp.Header.Get("Location")
	if resp.StatusCode != 202 {
		t.Fatalf("POST: %s", resp.Status)
	}
	if resp := send("PATCH", at, "0-5", "hello "); resp.StatusCode != 201 || resp.Header.Get("Range") != "0-5" {
		t.Errorf("PATCH: %s %s", resp.Status, resp.Header.Get("Range"))
	}
	if resp := send("PATCH", at, "0-5", "hello "); resp.StatusCode != 416 {
		t.Errorf("PATCH from the start again: %s", resp.Status)
	}
	if resp := send("PUT", at+"?digest="+h.String(), "", "world"); resp.StatusCode != 201 {
		t.Errorf("PUT: %s", resp.Status)
	}
	blob := r.URL() + "/v2/web/blobs/" + h.String()
	if resp := send("GET", blob, "bytes=6-", ""); resp.StatusCode != 206 || string(must(io.ReadAll(resp.Body))) != "world" {
		t.Errorf("GET with a range: %s", resp.Status)
	}
	if resp := send("HEAD", r.URL()+"/v2/other/blobs/"+h.String(), "", ""); resp.StatusCode != 404 {
		t.Errorf("a blob of another repository: %s", resp.Status)
	}
	if resp := send("POST", r.URL()+"/v2/other/blobs/uploads/?from=web&mount="+h.String(), "", ""); resp.StatusCode != 201 {
		t.Errorf("mount: %s", resp.Status)
	}
	if resp := send("HEAD", r.URL()+"/v2/other/blobs/"+h.String(), "", ""); resp.StatusCode != 200 {
		t.Errorf("a mounted blob: %s", resp.Status)
	}
}

func TestIndexTagsAndReferrers(t *testing.T) {
	r := newRig(t, Options{})
	r.createRepository("web")
	index := must(random.Index(100, 1, 2))
	repo := must(name.NewRepository(r.Address() + "/web"))
	auth := remote.WithAuth(r.login())
	for _, tag := range []string{"b", "a", "c"} {
		if err := remote.WriteIndex(repo.Tag(tag), index, auth); err != nil {
			t.Fatal(err)
		}
	}
	pulled := must(remote.Index(repo.Tag("a"), auth))
	if err := validate.Index(pulled); err != nil {
		t.Error(err)
	}
	tags := must(remote.List(repo, auth, remote.WithPageSize(2)))
	if diff := cmp.Diff([]string{"a", "b", "c"}, tags); diff != "" {
		t.Error(diff)
	}
	digest := must(index.Digest())
	subject := v1.Descriptor{MediaType: gtypes.OCIImageIndex, Digest: digest, Size: must(index.Size())}
	sbom := mutate.Subject(mutate.ConfigMediaType(mutate.MediaType(image(t, nil, "x"), gtypes.OCIManifestSchema1), "application/vnd.example.sbom"), subject).(v1.Image)
	if err := remote.Write(repo.Digest(must(sbom.Digest()).String()), sbom, auth); err != nil {
		t.Fatal(err)
	}
	refs := must(must(remote.Referrers(repo.Digest(digest.String()), auth)).IndexManifest())
	if len(refs.Manifests) != 1 || refs.Manifests[0].Digest != must(sbom.Digest()) || refs.Manifests[0].ArtifactType != "application/vnd.example.sbom" {
		t.Errorf("referrers: %+v", refs.Manifests)
	}
}

func TestRepositoriesArePaged(t *testing.T) {
	r := newRig(t, Options{})
	var want, got []string
	for i := range 5 {
		want = append(want, fmt.Sprintf("repo%d", i))
		r.createRepository(want[i])
	}
	pages := ecr.NewDescribeRepositoriesPaginator(r.ecr, &ecr.DescribeRepositoriesInput{MaxResults: aws.Int32(2)})
	n := 0
	for ; pages.HasMorePages(); n++ {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, repo := range page.Repositories {
			got = append(got, *repo.RepositoryName)
			if *repo.RepositoryUri != r.Address()+"/"+*repo.RepositoryName {
				t.Errorf("URI %s", *repo.RepositoryUri)
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" || n != 3 {
		t.Errorf("%d pages, %s", n, diff)
	}
}

func TestCallerIdentity(t *testing.T) {
	r := newRig(t, Options{})
	client := sts.New(sts.Options{Region: "eu-west-1", BaseEndpoint: aws.String(r.URL()),
		Credentials: credentials.NewStaticCredentialsProvider("id", "secret", "")})
	out, err := client.GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	if err != nil || *out.Account != account {
		t.Errorf("%+v, %v", out, err)
	}
	_, err = client.GetSessionToken(t.Context(), &sts.GetSessionTokenInput{})
	wantCode(t, err, "InvalidAction")
}
