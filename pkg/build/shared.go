package build

import (
	"fmt"
	"log/slog"
	"sync"

	"github.com/boyabuild/boyabuild/pkg/python/index"
	"github.com/boyabuild/boyabuild/pkg/python/pip"
	"github.com/boyabuild/boyabuild/pkg/statcache"
)

// shared is what all platforms of one build use.
type shared struct {
	b       *Builder
	guests  *guests
	clients map[string]*index.Client
	told    map[string]bool // notices that were given
	refresh bool            // indexes are asked again, whatever is kept of their pages
	anew    bool            // nothing is believed that an earlier build found out
	local   map[string]*statcache.Cache
	own     sync.Map // keys of what this build has built of sources, or compiled
}

// sums know the files of find-links that were read before, by an earlier build too
// unless that is not to be believed.
func (s *shared) sums(places []pip.Setting[string]) *statcache.Cache {
	key := "stat/1 find-links"
	for _, l := range places {
		key += " " + l.Value
	}
	c, ok := s.local[key]
	if !ok {
		file := ""
		if !s.anew {
			file = s.b.Store.RecordFile(key)
		}
		c = statcache.Open(file)
		s.local[key] = c
	}
	return c
}

func newShared(b *Builder, anew, refresh bool) *shared {
	return &shared{b: b, refresh: refresh, anew: anew, local: map[string]*statcache.Cache{}, guests: &guests{b: b, made: map[string]*guest{}, probed: b.noSandbox != nil, refused: b.noSandbox}, clients: map[string]*index.Client{}, told: map[string]bool{}}
}

// built reads the record of what was built of sources, or compiled: by any build, or
// by this one if nothing else is to be believed.
func (p *platformBuild) built(key string, v any) (bool, error) {
	if _, own := p.shared.own.Load(key); !own && p.records.off {
		return false, nil
	}
	return p.Store.Record(key, v)
}

func (p *platformBuild) setBuilt(key string, v any) error {
	p.shared.own.Store(key, nil)
	return p.Store.SetRecord(key, v)
}

// close ends the use of what was made for one build only.
func (s *shared) close() {
	if err := s.guests.close(); err != nil {
		s.b.log().Warn("remove what was unpacked for building", "error", err)
	}
	for _, c := range s.local {
		if err := c.Save(); err != nil {
			s.b.log().Debug(fmt.Sprintf("digests of local packages are not kept: %v", err))
		}
	}
}

// notice warns once a build.
func (s *shared) notice(log *slog.Logger, text string) {
	if !s.told[text] {
		s.told[text] = true
		log.Warn(text)
	}
}
