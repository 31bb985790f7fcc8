package statcache

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"os"
)

// The file: magic with a version, body, SHA-256 of both.
//
//	body    = saved count-of-devices { device } count-of-records { record }
//	record  = shared rest-length rest size ctime age inode device sum
//
// saved is when the cache was added to, in nanoseconds since 1970. Records are in
// the order of their paths' bytes; a path is the first shared bytes of the one
// before and rest. ctime and inode are differences from the record before, age is
// ctime-mtime, device an index into the devices, sum 32 bytes. Numbers are
// varints of encoding/binary, the three differences and saved signed ones.
const magic = "boyabuild statcache 1\n"

// Limits of a cache, on what is read and on what is written: far above any
// context that anybody builds, and low enough for memory. Files beyond them are
// read every time.
const (
	maxRecords = 1 << 20
	maxPaths   = 64 << 20 // bytes of all paths
	maxFile    = 256 << 20
	// minRecord is the fewest bytes a record takes.
	minRecord = 8 + sha256.Size
)

var errDamaged = errors.New("damaged or of another version")

// encode returns the file that holds records, which are sorted by path.
func encode(saved int64, records []record) []byte {
	if len(records) > maxRecords {
		records = records[:maxRecords]
	}
	devices, index, paths := []uint64(nil), map[uint64]uint64{}, 0
	for i := range records {
		if paths += len(records[i].path); paths > maxPaths {
			records = records[:i]
			break
		}
		if _, ok := index[records[i].dev]; !ok {
			index[records[i].dev] = uint64(len(devices))
			devices = append(devices, records[i].dev)
		}
	}
	out := make([]byte, 0, len(magic)+64+len(records)*80)
	out = append(out, magic...)
	out = binary.AppendVarint(out, saved)
	out = binary.AppendUvarint(out, uint64(len(devices)))
	for _, d := range devices {
		out = binary.AppendUvarint(out, d)
	}
	out = binary.AppendUvarint(out, uint64(len(records)))
	var last record
	for i := range records {
		r := &records[i]
		n := shared(last.path, r.path)
		out = binary.AppendUvarint(out, uint64(n))
		out = binary.AppendUvarint(out, uint64(len(r.path)-n))
		out = append(out, r.path[n:]...)
		out = binary.AppendUvarint(out, uint64(r.size))
		// Differences wrap around, as sums do when they are read.
		out = binary.AppendVarint(out, r.ctime-last.ctime)
		out = binary.AppendVarint(out, r.ctime-r.mtime)
		out = binary.AppendVarint(out, int64(r.ino-last.ino))
		out = binary.AppendUvarint(out, index[r.dev])
		out = append(out, r.sum[:]...)
		last = *r
	}
	sum := sha256.Sum256(out)
	return append(out, sum[:]...)
}

// shared returns how many bytes a and b begin with in common.
func shared(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// load reads a file that encode made.
func load(name string) (saved int64, records []record, err error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return 0, nil, errDamaged
	}
	data := make([]byte, info.Size())
	if _, err := io.ReadFull(f, data); err != nil {
		return 0, nil, err
	}
	return parse(data)
}

// parse is the reverse of encode.
func parse(data []byte) (saved int64, records []record, err error) {
	end := len(data) - sha256.Size
	if end < len(magic) || string(data[:len(magic)]) != magic {
		return 0, nil, errDamaged
	}
	if sum := sha256.Sum256(data[:end]); !bytes.Equal(sum[:], data[end:]) {
		return 0, nil, errDamaged
	}
	d := decoder{data: data[len(magic):end]}
	saved = d.varint()
	devices := make([]uint64, d.count(1, maxRecords))
	for i := range devices {
		devices[i] = d.uvarint()
	}
	records = make([]record, d.count(minRecord, maxRecords))
	if err := d.records(records, devices); err != nil || d.bad || d.rest() > 0 {
		return 0, nil, errDamaged
	}
	return saved, records, nil
}

// decoder takes things off the front of data. Once something is wrong it is at
// the end of data.
type decoder struct {
	data []byte
	at   int
	bad  bool
}

func (d *decoder) fail() { d.at, d.bad = len(d.data), true }

func (d *decoder) rest() int { return len(d.data) - d.at }

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.data[d.at:])
	if n <= 0 {
		d.fail()
		return 0
	}
	d.at += n
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.data[d.at:])
	if n <= 0 {
		d.fail()
		return 0
	}
	d.at += n
	return v
}

// count reads how many things of at least size bytes each follow, at most limit.
func (d *decoder) count(size, limit int) int {
	n := d.uvarint()
	if n > uint64(min(limit, d.rest()/size)) {
		d.fail()
		return 0
	}
	return int(n)
}

// bytes takes n bytes.
func (d *decoder) bytes(n uint64) []byte {
	if n > uint64(d.rest()) {
		d.fail()
		return nil
	}
	d.at += int(n)
	return d.data[d.at-int(n) : d.at]
}

// records fills records.
func (d *decoder) records(records []record, devices []uint64) error {
	// All paths are parts of one string, so that they cost one allocation.
	paths := make([]byte, 0, 64*len(records))
	ends := make([]int, len(records))
	var last record
	start := 0 // of the last path
	for i := range records {
		before := paths[start:]
		n := d.uvarint()
		rest := d.bytes(d.uvarint())
		if d.bad || n > uint64(len(before)) || len(paths)+int(n)+len(rest) > maxPaths {
			return errDamaged
		}
		start = len(paths)
		paths = append(append(paths, before[:n]...), rest...)
		if bytes.Compare(before, paths[start:]) >= 0 {
			return errDamaged
		}
		ends[i] = len(paths)

		r := &records[i]
		r.size = int64(d.uvarint())
		r.ctime = last.ctime + d.varint()
		r.mtime = r.ctime - d.varint()
		r.ino = last.ino + uint64(d.varint())
		dev := d.uvarint()
		copy(r.sum[:], d.bytes(sha256.Size))
		if d.bad || dev >= uint64(len(devices)) {
			return errDamaged
		}
		r.dev = devices[dev]
		last = *r
	}
	start = 0
	all := string(paths)
	for i, end := range ends {
		records[i].path, start = all[start:end], end
	}
	return nil
}
