package pip

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// ParseNewer reads the time that an --exclude-newer names: one as RFC 3339 has
// it, a date, or how long ago ("7 days", "1 week", "P7D"), as uv takes it. A date
// begins (pip) or ends (uv) the time that counts; it is in UTC, so that a build
// does not depend on the machine's zone. What is so long ago is taken from the
// beginning of the day, so that the builds of one day agree.
func ParseNewer(text string, dateEnds bool, now time.Time) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	if t, err := time.Parse(time.DateOnly, text); err == nil {
		if dateEnds {
			t = t.AddDate(0, 0, 1)
		}
		return t, nil
	}
	if ago, ok := parseSpan(text); ok {
		return now.UTC().Add(-ago).Truncate(24 * time.Hour), nil
	}
	return time.Time{}, fmt.Errorf("%q is neither a date, a time such as 2026-01-31T00:00:00Z, nor a span such as 7 days", text)
}

var (
	spanPattern = regexp.MustCompile(`^(\d{1,6}) ?([a-z]+?)s?(?: ago)?$`)
	isoPattern  = regexp.MustCompile(`^P(?:(\d{1,6})W)?(?:(\d{1,6})D)?(?:T(?:(\d{1,6})H)?(?:(\d{1,6})M)?(?:(\d{1,6})S)?)?$`)
)

// spanUnits are those of a fixed length: months and years have none, and uv
// takes none.
var spanUnits = map[string]time.Duration{
	"second": time.Second, "sec": time.Second, "minute": time.Minute, "min": time.Minute, "m": time.Minute,
	"hour": time.Hour, "hr": time.Hour, "h": time.Hour, "day": 24 * time.Hour, "d": 24 * time.Hour,
	"week": 7 * 24 * time.Hour, "wk": 7 * 24 * time.Hour, "w": 7 * 24 * time.Hour,
}

func parseSpan(text string) (time.Duration, bool) {
	if m := spanPattern.FindStringSubmatch(strings.ToLower(strings.TrimSpace(text))); m != nil {
		n, err := strconv.Atoi(m[1])
		unit := spanUnits[m[2]]
		return time.Duration(n) * unit, err == nil && unit > 0
	}
	m := isoPattern.FindStringSubmatch(text)
	if m == nil {
		return 0, false
	}
	span, some := time.Duration(0), false
	for i, unit := range []time.Duration{7 * 24 * time.Hour, 24 * time.Hour, time.Hour, time.Minute, time.Second} {
		if n, err := strconv.Atoi(m[i+1]); err == nil {
			span, some = span+time.Duration(n)*unit, true
		}
	}
	return span, some
}
