package index

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"time"

	"github.com/boyabuild/boyabuild/pkg/python"
)

// A project page is kept in a form that is read without being parsed: tables
// of what its files have in common (versions, tags, Requires-Python, servers),
// a record of fixed size for each file, and the texts that these point to.
//
//	magic     the version of the form; another one is no page
//	checksum  CRC-32C of all that follows
//	counts    of versions, tag sets, Requires-Pythons, servers, extras, files
//	texts     offset and length of each, in that order; three for an extra
//	files     a record each, in the order of the page
//	strings   to the end
//
// Numbers are little-endian. Versions are sorted as PEP 440 sorts them.
const pageMagic = "boyabuild page 1"

const (
	countsAt   = len(pageMagic) + 4
	tablesAt   = countsAt + 6*4
	textSize   = 2 * 4
	recordSize = 8*4 + 2*8 + 32
)

// The tables, in their order.
const (
	versionTable = iota
	tagTable
	requiresTable
	serverTable
	extraTable // three texts each: yanked reason, hashes, metadata hashes
	fileTable
)

// The offsets in a record. A number of a table is one more than the index; 0 is
// none.
const (
	atVersion  = 0
	atTags     = 4
	atRequires = 8
	atServer   = 12 // the address is this, the path, and the file name if it has atEnd
	atExtra    = 16
	atFlags    = 20
	atName     = 24 // offset in strings; its length and that of the path are in one number
	atLengths  = 28 // length of the name, 12 bits, and of the path
	atSize     = 32
	atUploaded = 40
	atSHA256   = 48
)

// Flags of a record.
const (
	flagSdist = 1 << iota
	flagYanked
	flagCore
	flagSHA256
	flagBuild   // the wheel has a build tag
	flagNameEnd // the address ends in the file name
)

const nameBits = 12 // no file name is longer: python.ParseWheelName refuses it

// pageBuilder makes the compact form of the files of one project.
type pageBuilder struct {
	project  string
	versions map[string]uint32 // as written in file names, and canonical
	parsed   []python.Version
	tables   [serverTable + 1]table // tags, Requires-Python and servers; versions when they are sorted
	extras   []string
	records  []byte
	strings  []byte
	names    map[string]bool // how file names write the project
	login    bool            // some address holds credentials: not to be kept
}

// table numbers texts.
type table struct {
	number map[string]uint32
	texts  []string
}

func (t *table) add(text string) uint32 {
	if n, ok := t.number[text]; ok {
		return n
	}
	if t.number == nil {
		t.number = map[string]uint32{}
	}
	t.texts = append(t.texts, text)
	t.number[text] = uint32(len(t.texts))
	return t.number[text]
}

// newPageBuilder makes a builder; size is that of the page, or 0.
func newPageBuilder(project string, size int) *pageBuilder {
	return &pageBuilder{
		project: project, versions: map[string]uint32{}, names: map[string]bool{},
		records: make([]byte, 0, size/4), strings: make([]byte, 0, size/4), // an entry has some 400 bytes
	}
}

// add takes a file, or leaves it out when it is none of the project: legacy
// uploads, which pip skips too.
func (b *pageBuilder) add(l *listed) {
	if len(l.filename) >= 1<<nameBits || len(l.url) >= 1<<(32-nameBits) {
		return
	}
	var r [recordSize]byte
	put := func(at int, v uint32) { binary.LittleEndian.PutUint32(r[at:], v) }
	flags := uint32(0)
	if version, tags, build, ok := b.wheel(l.filename); ok {
		put(atVersion, version)
		put(atTags, tags)
		if build {
			flags |= flagBuild
		}
	} else if version, ok := b.sdist(l.filename); ok {
		put(atVersion, version)
		flags |= flagSdist
	} else {
		return
	}
	if l.login != nil {
		b.login = true
	}
	if l.requires != "" {
		put(atRequires, b.tables[requiresTable].add(l.requires))
	}
	if l.yanked {
		flags |= flagYanked
	}
	if l.core {
		flags |= flagCore
	}
	others := ""
	for _, h := range l.hashes {
		if h.algorithm == "sha256" && len(h.value) == 64 {
			hex.Decode(r[atSHA256:], []byte(h.value)) // checked when it was read
			flags |= flagSHA256
		} else {
			others += h.algorithm + "=" + h.value + "&"
		}
	}
	if l.reason != "" || others != "" || len(l.coreHashes) > 0 {
		b.extras = append(b.extras, l.reason, others, joinHashes(l.coreHashes))
		put(atExtra, uint32(len(b.extras)/3))
	}
	server, path := splitServer(l.url)
	if rest, ok := strings.CutSuffix(path, l.filename); ok {
		path = rest
		flags |= flagNameEnd
	}
	put(atServer, b.tables[serverTable].add(server))
	put(atFlags, flags)
	put(atName, uint32(len(b.strings)))
	put(atLengths, uint32(len(l.filename))|uint32(len(path))<<nameBits)
	b.strings = append(append(b.strings, l.filename...), path...)
	binary.LittleEndian.PutUint64(r[atSize:], uint64(l.size))
	binary.LittleEndian.PutUint64(r[atUploaded:], uint64(l.uploaded))
	b.records = append(b.records, r[:]...)
}

func joinHashes(values []hashValue) string {
	text := ""
	for _, h := range values {
		if !strings.ContainsAny(h.algorithm+h.value, "=&") {
			text += h.algorithm + "=" + h.value + "&"
		}
	}
	return text
}

func splitHashes(text string, add func(algorithm, value string)) {
	for text != "" {
		var pair string
		pair, text, _ = strings.Cut(text, "&")
		algorithm, value, _ := strings.Cut(pair, "=")
		add(algorithm, value)
	}
}

// splitServer parts "https://host/" from the path.
func splitServer(u string) (server, path string) {
	i := strings.Index(u, "://")
	if i < 0 {
		return "", u
	}
	j := strings.IndexByte(u[i+3:], '/')
	if j < 0 {
		return u, ""
	}
	return u[:i+3+j+1], u[i+3+j+1:]
}

// wheel finds version and tags in the name of a wheel. The same few names,
// versions and tags are in all names of a page, and each is parsed once.
func (b *pageBuilder) wheel(filename string) (version, tags uint32, build, ok bool) {
	stem, isWheel := strings.CutSuffix(filename, ".whl")
	if !isWheel {
		return 0, 0, false, false
	}
	name, rest, _ := strings.Cut(stem, "-")
	written, rest, _ := strings.Cut(rest, "-")
	if b.names[name] {
		if version, tags := b.versions[written], b.tables[tagTable].number[rest]; version != 0 && tags != 0 {
			return version, tags, false, true
		}
	}
	w, err := python.ParseWheelName(filename)
	if err != nil || w.Name != b.project || strings.ContainsAny(filename, "/\\\x00") {
		return 0, 0, false, false
	}
	if w.Build != "" {
		rest = strings.TrimPrefix(rest, w.Build+"-")
	}
	b.names[name] = true
	return b.version(written, w.Version), b.tables[tagTable].add(rest), w.Build != "", true
}

// sdist finds the version in the name of an sdist.
func (b *pageBuilder) sdist(filename string) (version uint32, ok bool) {
	if stem, ok := strings.CutSuffix(filename, ".tar.gz"); ok {
		i := strings.LastIndexByte(stem, '-') // no version of those that were parsed has a dash
		if i > 0 && b.names[stem[:i]] && b.versions[stem[i+1:]] != 0 {
			return b.versions[stem[i+1:]], true
		}
	}
	name, v, err := sdistName(filename, b.project)
	if err != nil || strings.ContainsAny(filename, "/\\\x00") {
		return 0, false
	}
	for _, suffix := range sdistSuffixes {
		filename = strings.TrimSuffix(filename, suffix)
	}
	if i := strings.LastIndexByte(filename, '-'); i > 0 && python.NormalizeName(filename[:i]) == name {
		b.names[filename[:i]] = true
		return b.version(filename[i+1:], v), true
	}
	return b.version(v.String(), v), true
}

var sdistSuffixes = []string{".tar.gz", ".zip", ".tar.bz2", ".tgz", ".tar.xz"}

func (b *pageBuilder) version(written string, v python.Version) uint32 {
	n := b.versions[v.String()]
	if n == 0 {
		b.parsed = append(b.parsed, v)
		n = uint32(len(b.parsed))
		b.versions[v.String()] = n
	}
	b.versions[written] = n
	return n
}

// bytes is the finished form. The builder is of no more use then.
func (b *pageBuilder) bytes() []byte {
	b.sortVersions()
	counts := [...]int{len(b.parsed), len(b.tables[tagTable].texts), len(b.tables[requiresTable].texts), len(b.tables[serverTable].texts),
		len(b.extras) / 3, len(b.records) / recordSize}
	out := make([]byte, 0, tablesAt+len(b.records)+len(b.strings)+32*len(b.parsed)+4096)
	out = append(out, pageMagic...)
	out = append(out, 0, 0, 0, 0) // the checksum
	for _, n := range counts {
		out = binary.LittleEndian.AppendUint32(out, uint32(n))
	}
	text := func(s string) {
		out = binary.LittleEndian.AppendUint32(out, uint32(len(b.strings)))
		out = binary.LittleEndian.AppendUint32(out, uint32(len(s)))
		b.strings = append(b.strings, s...)
	}
	for _, t := range b.tables {
		for _, s := range t.texts {
			text(s)
		}
	}
	for _, s := range b.extras {
		text(s)
	}
	out = append(out, b.records...)
	out = append(out, b.strings...)
	binary.LittleEndian.PutUint32(out[len(pageMagic):], checksum(out[countsAt:]))
	return out
}

// sortVersions puts the versions in order, and the new numbers into the records.
func (b *pageBuilder) sortVersions() {
	order := make([]int, len(b.parsed))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(x, y int) int { return b.parsed[x].Compare(b.parsed[y]) })
	number := make([]uint32, len(order)+1)
	for to, from := range order {
		number[from+1] = uint32(to + 1)
		b.tables[versionTable].texts = append(b.tables[versionTable].texts, b.parsed[from].String())
	}
	for at := 0; at < len(b.records); at += recordSize {
		r := b.records[at:]
		binary.LittleEndian.PutUint32(r[atVersion:], number[binary.LittleEndian.Uint32(r[atVersion:])])
	}
}

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// page is a compact page that is open.
type page struct {
	counts                   [fileTable + 1]int
	tables, records, strings []byte
}

var errNoPage = errors.New("not a project page in the form that is kept")

// openPage checks the form, so that nothing in it can lead outside it.
func openPage(data []byte) (*page, error) {
	if len(data) < tablesAt || string(data[:len(pageMagic)]) != pageMagic ||
		binary.LittleEndian.Uint32(data[len(pageMagic):]) != checksum(data[countsAt:]) {
		return nil, errNoPage
	}
	p := &page{}
	texts := 0
	for i := range p.counts {
		n := binary.LittleEndian.Uint32(data[countsAt+4*i:])
		if int64(n) > int64(len(data)) {
			return nil, errNoPage
		}
		p.counts[i] = int(n)
		switch i {
		case fileTable:
		case extraTable:
			texts += 3 * int(n)
		default:
			texts += int(n)
		}
	}
	recordsAt := tablesAt + texts*textSize
	stringsAt := recordsAt + p.counts[fileTable]*recordSize
	if stringsAt > len(data) {
		return nil, errNoPage
	}
	p.tables, p.records, p.strings = data[tablesAt:recordsAt], data[recordsAt:stringsAt], data[stringsAt:]
	return p, nil
}

func number(b []byte, at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }
func long(b []byte, at int) uint64   { return binary.LittleEndian.Uint64(b[at:]) }

// cut is a part of the strings; nil for one that is not inside them.
func (p *page) cut(from, length uint32) []byte {
	if uint64(from)+uint64(length) > uint64(len(p.strings)) {
		return nil
	}
	return p.strings[from : from+length]
}

// text is the n-th text of a table, counted from 1; nil where there is none.
func (p *page) text(tab int, n uint32) []byte {
	if n == 0 || int64(n) > int64(p.counts[tab]) {
		return nil
	}
	at := int(n) - 1
	for _, before := range p.counts[:tab] {
		at += before
	}
	return p.textAt(at)
}

func (p *page) textAt(i int) []byte {
	return p.cut(number(p.tables, i*textSize), number(p.tables, i*textSize+4))
}

// extra is one of the three texts of an extra.
func (p *page) extra(n uint32, which int) string {
	if n == 0 || int64(n) > int64(p.counts[extraTable]) {
		return ""
	}
	at := 3*(int(n)-1) + which
	for _, before := range p.counts[:extraTable] {
		at += before
	}
	return string(p.textAt(at))
}

// record is the record of a file.
func (p *page) record(i int) []byte { return p.records[i*recordSize : (i+1)*recordSize] }

// file fills in what the record of a file alone says; version, tags and
// Requires-Python come from the listing.
func (p *page) file(r []byte) File {
	flags, extra, lengths := number(r, atFlags), number(r, atExtra), number(r, atLengths)
	name := lengths & (1<<nameBits - 1)
	f := File{
		Filename: string(p.cut(number(r, atName), name)), Size: int64(long(r, atSize)),
		RequiresPython: string(p.text(requiresTable, number(r, atRequires))),
		Yanked:         flags&flagYanked != 0, CoreMetadata: flags&flagCore != 0,
	}
	address := append(make([]byte, 0, 192), p.text(serverTable, number(r, atServer))...)
	address = append(address, p.cut(number(r, atName)+name, lengths>>nameBits)...)
	if flags&flagNameEnd != 0 {
		address = append(address, f.Filename...)
	}
	f.URL = string(address)
	if flags&flagSHA256 != 0 {
		f.Hashes = map[string]string{"sha256": hex.EncodeToString(r[atSHA256 : atSHA256+32])}
	}
	if flags&flagSdist != 0 {
		f.Kind = Sdist
	}
	if t := int64(long(r, atUploaded)); t != unknownTime {
		f.UploadTime = time.UnixMicro(t).UTC()
	}
	if extra != 0 {
		f.YankedReason = p.extra(extra, 0)
		splitHashes(p.extra(extra, 1), func(algorithm, value string) {
			if f.Hashes == nil {
				f.Hashes = map[string]string{}
			}
			f.Hashes[algorithm] = value
		})
		splitHashes(p.extra(extra, 2), func(algorithm, value string) {
			if f.MetadataHashes == nil {
				f.MetadataHashes = map[string]string{}
			}
			f.MetadataHashes[algorithm] = value
		})
	}
	return f
}

// compact makes the compact form of a document. kept tells whether it may be
// kept: an address with credentials in it must not be written anywhere.
func (c *Client) compact(d document, project string) (data []byte, kept bool, err error) {
	b := newPageBuilder(project, len(d.body))
	add := func(l *listed) {
		if b.add(l); l.login != nil {
			c.http.remember(l.login)
		}
	}
	isJSON, err := d.isJSON()
	if err != nil {
		return nil, false, err
	}
	if isJSON {
		err = scanJSON(string(d.body), d.base, add)
	} else {
		var links []link
		links, err = parseHTML(d.body, d.base)
		for i := range links {
			add(links[i].listed())
		}
	}
	if err != nil {
		return nil, false, err
	}
	if len(b.strings) > maxPage {
		return nil, false, fmt.Errorf("page %s is too large", redact(d.base))
	}
	return b.bytes(), !b.login, nil
}

// compactFiles is the compact form of files that are not from such a page.
func compactFiles(files []File, project string) []byte {
	b := newPageBuilder(project, 0)
	for _, f := range files {
		b.add((&link{File: f}).listed())
	}
	return b.bytes()
}

// listed is the entry of a page that the link is.
func (l *link) listed() *listed {
	out := &listed{
		filename: l.Filename, url: l.URL, login: l.login, size: l.Size, uploaded: unknownTime,
		requires: l.RequiresPython, yanked: l.Yanked, reason: l.YankedReason, core: l.CoreMetadata,
	}
	if !l.UploadTime.IsZero() {
		out.uploaded = l.UploadTime.UnixMicro()
	}
	for _, algorithm := range sortedAlgorithms(l.Hashes) {
		out.hashes = append(out.hashes, hashValue{algorithm, l.Hashes[algorithm]})
	}
	for _, algorithm := range sortedAlgorithms(l.MetadataHashes) {
		out.coreHashes = append(out.coreHashes, hashValue{algorithm, l.MetadataHashes[algorithm]})
	}
	return out
}
