package pip

import (
	"testing"
	"time"
)

func TestParseNewer(t *testing.T) {
	now := time.Date(2026, 3, 15, 13, 14, 15, 0, time.FixedZone("", 9*3600))
	day := func(y int, m time.Month, d int) time.Time { return time.Date(y, m, d, 0, 0, 0, 0, time.UTC) }
	tests := map[string]time.Time{ // zero: an error
		"2024-05-01T10:20:30+09:00": time.Date(2024, 5, 1, 1, 20, 30, 0, time.UTC),
		"2024-05-01":                day(2024, 5, 2),
		"7 days":                    day(2026, 3, 8), "1 day": day(2026, 3, 14), "2 weeks ago": day(2026, 3, 1), "1w": day(2026, 3, 8), "30d": day(2026, 2, 13),
		"5 hours": day(2026, 3, 14), "4 hours": day(2026, 3, 15), "P7D": day(2026, 3, 8), "P1W": day(2026, 3, 8), "PT48H": day(2026, 3, 13), "P1DT5H": day(2026, 3, 13),
		"": {}, "7": {}, "days": {}, "P": {}, "PT": {}, "1 month": {}, "-7 days": {}, "7 apples": {}, "yesterday": {}, "2024-13-01": {}, "99999999 days": {},
	}
	for text, want := range tests {
		got, err := ParseNewer(text, true, now)
		if (err != nil) != want.IsZero() || !got.Equal(want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	if got, err := ParseNewer("2024-05-01", false, now); err != nil || !got.Equal(day(2024, 5, 1)) {
		t.Errorf("a date of pip: %v, %v", got, err)
	}
}
