package lockfile

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
)

// pythonHash is the SHA-256 of a value as Python's json.dumps writes it with
// sort_keys, which is how tools fingerprint a project's file.
func pythonHash(v any, item, key string) string {
	var b strings.Builder
	pythonJSON(&b, v, item, key)
	sum := sha256.Sum256([]byte(b.String()))
	return hex.EncodeToString(sum[:])
}

// pythonJSON writes a value with the given separators.
func pythonJSON(b *strings.Builder, v any, item, key string) {
	switch v := v.(type) {
	case nil:
		b.WriteString("null")
	case bool:
		b.WriteString(strconv.FormatBool(v))
	case int64:
		b.WriteString(strconv.FormatInt(v, 10))
	case float64:
		b.WriteString(tomlFloat(v))
	case string:
		pythonString(b, v)
	case time.Time:
		pythonString(b, v.Format(time.RFC3339Nano))
	case []any:
		b.WriteByte('[')
		for i, e := range v {
			if i > 0 {
				b.WriteString(item)
			}
			pythonJSON(b, e, item, key)
		}
		b.WriteByte(']')
	case map[string]any:
		b.WriteByte('{')
		for i, k := range slices.Sorted(maps.Keys(v)) {
			if i > 0 {
				b.WriteString(item)
			}
			pythonString(b, k)
			b.WriteString(key)
			pythonJSON(b, v[k], item, key)
		}
		b.WriteByte('}')
	}
}

// pythonString writes a string with ASCII only (ensure_ascii).
func pythonString(b *strings.Builder, s string) {
	b.WriteByte('"')
	for _, r := range s {
		const special, escape = "\"\\\n\r\t\b\f", `"\nrtbf`
		switch i := strings.IndexRune(special, r); {
		case i >= 0:
			b.WriteByte('\\')
			b.WriteByte(escape[i])
		case r >= 0x20 && r <= 0x7f:
			b.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(b, `\u%04x`, r)
		}
	}
	b.WriteByte('"')
}
