package build

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/boyabuild/boyabuild/pkg/layers"
)

// Output is one place to write an image to, beside the store.
type Output struct {
	// Type is oci (an OCI layout in a tar, or in a directory with Directory),
	// docker (an archive as of docker save), tar (the root file system) or
	// local (the same unpacked).
	Type string
	// Dest is a file, or a directory for local and for an OCI layout that is
	// not in a tar.
	Dest      string
	Directory bool
}

// OutputError reports an output that an image cannot be written as.
type OutputError struct{ Reason string }

func (e *OutputError) Error() string { return "write output: " + e.Reason }

// Export writes r. Files appear when they are whole; a directory must be empty
// or missing.
func Export(ctx context.Context, r *Result, names []string, o Output) error {
	if o.Type != "oci" && r.Index != nil {
		return &OutputError{fmt.Sprintf("type=%s holds one platform, and %d were built; choose one with --platform, or type=oci", o.Type, len(r.Platforms))}
	}
	var err error
	switch {
	case o.Type == "oci" && o.Directory:
		err = intoDirectory(ctx, o.Dest, func(dir string) error { return writeLayout(r, names, dir) })
	case o.Type == "oci":
		err = intoFile(ctx, o.Dest, func(w io.Writer) error { return writeLayoutTar(r, names, filepath.Dir(o.Dest), w) })
	case o.Type == "docker":
		err = intoFile(ctx, o.Dest, func(w io.Writer) error { return writeArchive(r.Images[0], names, w) })
	case o.Type == "tar":
		err = intoFile(ctx, o.Dest, func(w io.Writer) error { return writeRoot(ctx, r.Images[0], filepath.Dir(o.Dest), w) })
	case o.Type == "local":
		err = intoDirectory(ctx, o.Dest, func(dir string) error { return Unpack(ctx, r.Images[0], dir) })
	default:
		return &OutputError{fmt.Sprintf("type %q is none of oci, docker, tar, local", o.Type)}
	}
	if err != nil {
		return fmt.Errorf("write output %s: %w", o.Dest, err)
	}
	return nil
}

// intoFile writes a file beside its place and renames it.
func intoFile(ctx context.Context, dest string, write func(w io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(dest), "."+filepath.Base(dest)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if err := write(&writer{ctx, f}); err != nil {
		return err
	}
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), dest)
}

// writer ends with its context.
type writer struct {
	ctx context.Context
	w   io.Writer
}

func (w *writer) Write(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	return w.w.Write(p)
}

// intoDirectory fills a directory beside its place and renames it.
func intoDirectory(ctx context.Context, dest string, fill func(dir string) error) error {
	if entries, err := os.ReadDir(dest); err == nil && len(entries) > 0 {
		return errors.New("the directory is not empty")
	}
	tmp, err := os.MkdirTemp(filepath.Dir(filepath.Clean(dest)), ".boyabuild-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := os.Chmod(tmp, 0o755); err != nil {
		return err
	}
	if err := errors.Join(fill(tmp), ctx.Err()); err != nil {
		return err
	}
	if err := os.Remove(dest); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.Rename(tmp, dest)
}

// writeLayout writes an OCI layout, in which the image has the tags of its names.
func writeLayout(r *Result, names []string, dir string) error {
	l, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	var annotated []layout.Option
	for _, n := range names {
		annotations := map[string]string{"io.containerd.image.name": n}
		if tag, err := name.NewTag(n); err == nil {
			annotations["org.opencontainers.image.ref.name"] = tag.TagStr()
		}
		annotated = append(annotated, layout.WithAnnotations(annotations))
	}
	if len(names) == 0 {
		annotated = append(annotated, layout.WithAnnotations(nil))
	}
	for _, option := range annotated {
		if r.Index != nil {
			err = l.AppendIndex(r.Index, option)
		} else {
			err = l.AppendImage(r.Images[0], option)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// writeLayoutTar writes an OCI layout into a tar, as `docker buildx build -o
// type=oci` does.
func writeLayoutTar(r *Result, names []string, scratch string, w io.Writer) error {
	dir, err := os.MkdirTemp(scratch, ".boyabuild-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := writeLayout(r, names, dir); err != nil {
		return err
	}
	tw := tar.NewWriter(w)
	err = filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		return addFile(tw, p, filepath.ToSlash(rel))
	})
	if err != nil {
		return err
	}
	return tw.Close()
}

func addFile(tw *tar.Writer, p, name string) error {
	f, err := os.Open(p)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: info.Size(), ModTime: time.Unix(0, 0)}); err != nil {
		return err
	}
	_, err = io.Copy(tw, f)
	return err
}

// writeArchive writes what docker load reads.
func writeArchive(img v1.Image, names []string, w io.Writer) error {
	refs := map[name.Reference]v1.Image{}
	for _, n := range names {
		tag, err := name.NewTag(n)
		if err != nil {
			return err
		}
		refs[tag] = &named{img} // one each: the names of one would be in a random order
	}
	if len(names) == 0 {
		digest, err := img.Digest()
		if err != nil {
			return err
		}
		ref, err := name.NewDigest("image@" + digest.String()) // gives no name to what is loaded
		if err != nil {
			return err
		}
		refs[ref] = img
	}
	return tarball.MultiRefWrite(refs, w)
}

// named is an image with an identity of its own.
type named struct{ v1.Image }

// writeRoot writes the image's files as one tar. Its layers are unpacked in
// scratch for as long as it takes.
func writeRoot(ctx context.Context, img v1.Image, scratch string, w io.Writer) error {
	dir, err := os.MkdirTemp(scratch, ".boyabuild-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	view, err := rootTree(ctx, img, dir)
	if err != nil {
		return err
	}
	// A later layer may have replaced the file that a hard link was made to, so
	// each name gets the bytes that it stood for.
	entries := slices.Clone(view.Entries())
	for i := range entries {
		if e := &entries[i]; e.Kind == layers.Hardlink {
			e.Kind, e.Link = layers.File, ""
		}
	}
	if view, err = layers.NewTree(entries); err != nil {
		return err
	}
	_, err = layers.Write(ctx, w, view, layers.Options{Compression: layers.None})
	return err
}

// rootTree returns what is seen of an image's files. The layers' tars are
// written to dir, where any file in them is opened at once.
func rootTree(ctx context.Context, img v1.Image, dir string) (layers.Tree, error) {
	var view layers.Tree
	all, err := img.Layers()
	if err != nil {
		return view, err
	}
	for i, l := range all {
		plain := filepath.Join(dir, fmt.Sprint(i))
		if err := uncompress(ctx, l, plain); err != nil {
			return view, err
		}
		t, err := layers.ReadTar(func() (io.ReadCloser, error) { return os.Open(plain) })
		if err != nil {
			return view, err
		}
		view = layers.Overlay(view, t)
	}
	return view, nil
}

// uncompress writes a layer's tar to a file.
func uncompress(ctx context.Context, l v1.Layer, to string) error {
	r, err := l.Uncompressed()
	if err != nil {
		return err
	}
	defer r.Close()
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(&writer{ctx, f}, r)
	return errors.Join(err, f.Close())
}

// Unpack unpacks an image's files into dir, with their owners where the caller
// is root.
func Unpack(ctx context.Context, img v1.Image, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	all, err := img.Layers()
	if err != nil {
		return err
	}
	for _, l := range all {
		r, err := l.Uncompressed()
		if err != nil {
			return err
		}
		err = layers.Apply(ctx, r, root, layers.ApplyOptions{Owners: os.Geteuid() == 0})
		if closeErr := r.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			return err
		}
	}
	return nil
}
