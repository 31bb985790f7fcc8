package local

import (
	"archive/tar"
	"errors"
	"io"
	"path"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/sandbox"
)

// maxOwners bounds the files whose owners are noted.
const maxOwners = 1_000_000

// noteOwners reads a layer's tar to its end and notes in owners, by path, the files
// that do not belong to root. An ordinary user cannot give files away while
// unpacking; the sandbox can, where it has such users at all.
func noteOwners(layer io.Reader, owners map[string]sandbox.Owner) error {
	tr := tar.NewReader(layer)
	for {
		hdr, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		p := path.Clean("/" + hdr.Name)
		dir, base := path.Split(p)
		if hidden, ok := strings.CutPrefix(base, ".wh."); ok { // OCI image specification, "Whiteouts"
			if hidden == ".wh..opq" {
				forgetBelow(owners, strings.TrimSuffix(dir, "/"))
			} else {
				delete(owners, dir+hidden)
				forgetBelow(owners, dir+hidden)
			}
			continue
		}
		delete(owners, p)
		if (hdr.Uid != 0 || hdr.Gid != 0) && hdr.Typeflag != tar.TypeLink && len(owners) < maxOwners {
			owners[p] = sandbox.Owner{Path: p, UID: hdr.Uid, GID: hdr.Gid}
		}
	}
}

func forgetBelow(owners map[string]sandbox.Owner, dir string) {
	for p := range owners {
		if strings.HasPrefix(p, dir+"/") {
			delete(owners, p)
		}
	}
}
