package debian

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestControlReader(t *testing.T) {
	c := NewControlReader(strings.NewReader("\n# a comment\nPackage: a\nDescription: one\n two\n .\n\tthree \nEmpty:\n\n\nPackage:b\r\nList:\n x\n y"))
	want := []Paragraph{
		{{"Package", "a", 3}, {"Description", "one\ntwo\n.\nthree", 4}, {"Empty", "", 8}},
		{{"Package", "b", 11}, {"List", "\nx\ny", 12}},
	}
	var got []Paragraph
	for {
		p, err := c.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, p)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got[1].Get("package") != "b" || got[1].Get("Version") != "" {
		t.Error("Get does not find fields by name")
	}
}

func TestControlReaderOnly(t *testing.T) {
	c := NewControlReader(strings.NewReader("A: 1\nB: 2\n more\nC: 3\n\nB: 4\n\nA: 5\n"))
	c.Only = []string{"A", "C"}
	for _, want := range []Paragraph{{{"A", "1", 1}, {"C", "3", 4}}, nil, {{"A", "5", 8}}} {
		p, err := c.Next()
		if diff := cmp.Diff(want, p); err != nil || diff != "" {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	}
}

func TestControlReaderErrors(t *testing.T) {
	for in, line := range map[string]int{
		" continues nothing\n":                1,
		"A: 1\nnot a field\n":                 2,
		"A: 1\n\nB é: 2\n":                    3,
		"A: 1\n-B: 2\n":                       2,
		strings.Repeat("A: 1\n", maxFields+1): maxFields + 1,
	} {
		c := NewControlReader(strings.NewReader(in))
		var err error
		for err == nil {
			_, err = c.Next()
		}
		var bad *ControlError
		if !errors.As(err, &bad) || bad.Line != line {
			t.Errorf("%.30q: %v, want an error in line %d", in, err, line)
		}
	}
}

func FuzzControl(f *testing.F) {
	f.Add("Package: a\nDepends: b,\n c\n\nPackage: d\n")
	f.Add("A:\n\n B")
	f.Fuzz(func(t *testing.T, s string) {
		c := NewControlReader(strings.NewReader(s))
		for {
			p, err := c.Next()
			if err != nil {
				return
			}
			if len(p) == 0 {
				t.Error("an empty paragraph")
			}
		}
	})
}
