//go:build !linux && !darwin

package statcache

import (
	"io/fs"
	"os"
)

// stampOf returns the stat data in info, and whether all of it is there: never,
// as package os doesn't tell ctime and inode here.
func stampOf(info fs.FileInfo) (stamp, bool) {
	return stamp{size: info.Size(), mtime: info.ModTime().UnixNano()}, false
}

// keepsCtime says whether f lies on a file system whose ctime can be trusted.
func keepsCtime(*os.File) bool { return false }
