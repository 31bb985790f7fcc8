package layers

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"
)

// gunzip reads all of a gzip file.
func gunzip(r io.Reader, open func(io.Reader) (io.Reader, error)) ([]byte, error) {
	z, err := open(r)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}

func standardGzip(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }

// sameGunzip compares with compress/gzip.
func sameGunzip(t *testing.T, name string, packed []byte) {
	t.Helper()
	want, wantErr := gunzip(bytes.NewReader(packed), standardGzip)
	check := func(how string, got []byte, err error) {
		t.Helper()
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("%s, %s: error %v, compress/gzip has %v", name, how, err, wantErr)
		}
		if err == nil && !bytes.Equal(got, want) {
			t.Fatalf("%s, %s: %d bytes that are not the %d of compress/gzip", name, how, len(got), len(want))
		}
	}
	got, err := gunzip(bytes.NewReader(packed), NewGzipReader)
	check("whole", got, err)
	got, err = gunzip(iotest.HalfReader(bytes.NewReader(packed)), NewGzipReader)
	check("in halves", got, err)
	got, err = gunzip(iotest.DataErrReader(bytes.NewReader(packed)), NewGzipReader)
	check("with the end in the last piece", got, err)
	if len(packed) > 100_000 {
		return // it would take long, and show nothing more
	}
	var out bytes.Buffer
	z, err := NewGzipReader(iotest.OneByteReader(bytes.NewReader(packed)))
	if err == nil {
		_, err = io.Copy(&out, z)
	}
	check("byte by byte", out.Bytes(), err)
}

func gzipped(t testing.TB, level int, h gzip.Header, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, level)
	if err != nil {
		t.Fatal(err)
	}
	w.Header = h
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestGzipReader(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 700<<10)
	for i := range noise {
		noise[i] = byte(r.IntN(256) & r.IntN(256))
	}
	text := bytes.Repeat([]byte("a layer is a pure function of its tree\n"), 30_000)
	var all []byte
	for name, content := range map[string][]byte{"nothing": nil, "a byte": {7}, "text": text, "noise": noise, "zeros": make([]byte, 900<<10)} {
		for _, level := range []int{gzip.NoCompression, gzip.BestSpeed, gzip.BestCompression, gzip.HuffmanOnly} {
			packed := gzipped(t, level, gzip.Header{Name: "a name", Comment: "more", Extra: make([]byte, 60_000)}, content)
			sameGunzip(t, name, packed)
			sameGunzip(t, name+", cut off", packed[:len(packed)-3])
			sameGunzip(t, name+", and more", append(bytes.Clone(packed), "more"...))
			damaged := bytes.Clone(packed)
			damaged[len(damaged)-6] ^= 1
			sameGunzip(t, name+", another checksum", damaged)
			all = append(all, packed...)
		}
	}
	sameGunzip(t, "members", all)
	sameGunzip(t, "no file", nil)
	sameGunzip(t, "a long name", gzipped(t, 6, gzip.Header{Name: string(bytes.Repeat([]byte("n"), 511))}, text))
	sameGunzip(t, "a longer name", gzipped(t, 6, gzip.Header{Name: string(bytes.Repeat([]byte("n"), 512))}, text))
	// A match must not reach into the member before.
	a, b := gzipped(t, 9, gzip.Header{}, text), gzipped(t, 9, gzip.Header{}, text[5:])
	sameGunzip(t, "members of one text", append(a, b...))

	broken := errors.New("the line is broken")
	_, err := gunzip(io.MultiReader(bytes.NewReader(a[:len(a)/2]), iotest.ErrReader(broken)), NewGzipReader)
	if !errors.Is(err, broken) {
		t.Errorf("a reader's error comes out as %v", err)
	}
}

func FuzzGzipReader(f *testing.F) {
	f.Add(gzipped(f, 6, gzip.Header{Name: "x"}, []byte("hello, hello, hello")))
	f.Add(append(gzipped(f, 0, gzip.Header{}, []byte("stored")), gzipped(f, 9, gzip.Header{}, make([]byte, 70_000))...))
	// FHCRC, which compress/gzip does not write.
	f.Add([]byte{0x1f, 0x8b, 8, 2, 0, 0, 0, 0, 0, 0xff, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, packed []byte) {
		if len(packed) > 1<<16 {
			t.Skip()
		}
		sameGunzip(t, "input", packed)
	})
}

func BenchmarkGunzip(b *testing.B) {
	content := make([]byte, 0, 32<<20)
	r := rand.New(rand.NewPCG(3, 4))
	for len(content) < cap(content)-64 {
		content = append(content, "def function_"...)
		content = append(content, byte('a'+r.IntN(26)), byte('a'+r.IntN(26)), byte('a'+r.IntN(4)))
		content = append(content, "(argument): return argument + "...)
		content = append(content, byte('0'+r.IntN(10)), '\n')
	}
	packed := gzipped(b, 6, gzip.Header{}, content)
	for name, open := range map[string]func(io.Reader) (io.Reader, error){"ours": NewGzipReader, "compress-gzip": standardGzip} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(content)))
			for b.Loop() {
				z, err := open(bytes.NewReader(packed))
				if err != nil {
					b.Fatal(err)
				}
				if n, err := io.Copy(io.Discard, z); err != nil || n != int64(len(content)) {
					b.Fatal(n, err)
				}
			}
		})
	}
}
