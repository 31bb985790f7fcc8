package build

import (
	"log/slog"

	"github.com/boyabuild/boyabuild/pkg/python/index"
)

// shared is what all platforms of one build use.
type shared struct {
	b       *Builder
	guests  *guests
	clients map[string]*index.Client
	told    map[string]bool // notices that were given
	refresh bool            // indexes are asked again, whatever is kept of their pages
}

func newShared(b *Builder, refresh bool) *shared {
	return &shared{b: b, refresh: refresh, guests: &guests{b: b, made: map[string]*guest{}}, clients: map[string]*index.Client{}, told: map[string]bool{}}
}

// close ends the use of what was made for one build only.
func (s *shared) close() {
	if err := s.guests.close(); err != nil {
		s.b.log().Warn("remove what was unpacked for building", "error", err)
	}
}

// notice warns once a build.
func (s *shared) notice(log *slog.Logger, text string) {
	if !s.told[text] {
		s.told[text] = true
		log.Warn(text)
	}
}
