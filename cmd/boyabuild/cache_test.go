package main

import (
	"io"
	"strings"
	"testing"
)

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{
		"1": 1, "512b": 512, "5GB": 5e9, "5g": 5e9, "1.5 kB": 1500, "2MiB": 2 << 20, "1TiB": 1 << 40,
		"": 0, "GB": 0, "0": 0, "0.1": 0, "-1GB": 0, "5XB": 0, "1e30": 0, "NaN": 0, "inf": 0, "5 GB 6": 0, "0x10": 0,
	} {
		got, err := parseSize(text)
		if got != want || (err == nil) != (want > 0) {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
}

func TestByteSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 999_949: "999.9 kB", 999_950: "1.0 MB", 38e6: "38.0 MB", 5e15: "5000.0 TB"} {
		if got := byteSize(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

func TestFormats(t *testing.T) {
	type listing struct {
		Bytes int64 `json:"bytes"`
	}
	table := func(w io.Writer, l listing) error { _, err := io.WriteString(w, "a table\n"); return err }
	for format, want := range map[string]string{
		"table": "a table\n", "json": "{\n  \"bytes\": 123456789\n}\n", "{{.bytes}}": "123456789\n",
		"yaml": "!none of table, json", "{{": "!--format", "{{.Bytes}}": "!--format", "x": "!such as '{{.bytes}}'",
	} {
		show, err := formats(format, "{{.bytes}}", table)
		var out strings.Builder
		if err == nil {
			err = show(&out, listing{123456789})
		}
		if reason, fails := strings.CutPrefix(want, "!"); fails && (err == nil || !strings.Contains(err.Error(), reason) || out.Len() > 0) || !fails && (err != nil || out.String() != want) {
			t.Errorf("%s: %q, %v", format, out.String(), err)
		}
	}
}
