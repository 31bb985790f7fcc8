package wheel

import (
	"fmt"
	"log/slog"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/layers"
)

// Options shape what is written beside the wheel's own files.
type Options struct {
	// Requested says that the user named the distribution, and that no other
	// asked for it: REQUESTED is written (PEP 376).
	Requested bool
	// DirectURL is where the wheel came from when the requirement named it by
	// URL or path, and not by an index; it is written as direct_url.json.
	DirectURL *DirectURL
	// Installer is the content of INSTALLER; "" is "pip".
	Installer string
	// Bytecode are the .pyc files of the wheel's Sources, at their places: each in
	// the __pycache__ beside its source. One that the wheel brings itself gives way.
	Bytecode layers.Tree
	// Log takes warnings; nil discards them.
	Log *slog.Logger
}

// Tree lays the wheel out by the scheme. Files are 0644, or 0755 where the
// archive marks them executable and for all scripts, and belong to 0:0. The
// contents read the wheel each time they are opened.
func (w *Wheel) Tree(s Scheme, o Options) (layers.Tree, error) {
	w.warnCase(o.Log)
	l, first, err := w.layout(s)
	if err != nil {
		return layers.Tree{}, err
	}
	if err := l.addBytecode(o.Bytecode); err != nil {
		return layers.Tree{}, err
	}
	for _, e := range w.points.forPython(s.Python) {
		if err := l.write("scripts", e.name, 0o755, e.script(first)); err != nil {
			return layers.Tree{}, err
		}
	}
	if err := l.writeDistInfo(o); err != nil {
		return layers.Tree{}, err
	}
	return l.tree()
}

// Sources returns what pip compiles when it lays the wheel out by the scheme:
// every .py file, scripts and data files too, but not the scripts that it writes
// for entry points. The contents are those in [Wheel.Tree].
func (w *Wheel) Sources(s Scheme) (layers.Tree, error) {
	l, _, err := w.layout(s)
	if err != nil {
		return layers.Tree{}, err
	}
	l.entries = slices.DeleteFunc(l.entries, func(e layers.Entry) bool { return !strings.HasSuffix(e.Path, ".py") })
	return l.tree()
}

// layout places the archive's files; first is the line that scripts begin with.
func (w *Wheel) layout(s Scheme) (l *layout, first string, err error) {
	if err := s.check(); err != nil {
		return nil, "", err
	}
	l = &layout{
		w: w, scheme: s, lib: "platlib", at: map[string]string{}, moved: map[string]string{},
		changed: map[string][]byte{}, sources: map[string]string{},
	}
	if w.Purelib {
		l.lib = "purelib"
	}
	if first, err = shebang(s.Interpreter); err != nil {
		return nil, "", err
	}
	for _, f := range w.files {
		if err := l.place(f, first); err != nil {
			return nil, "", err
		}
	}
	return l, first, nil
}

func (l *layout) tree() (layers.Tree, error) {
	t, err := layers.NewTree(l.entries)
	if err != nil {
		return layers.Tree{}, fmt.Errorf("lay out wheel %s: %w", l.w.Name.Filename, err)
	}
	return t, nil
}

// layout is the state of one Tree call.
type layout struct {
	w       *Wheel
	scheme  Scheme
	lib     key // where the archive's root goes
	entries []layers.Entry
	at      map[string]string // path in the image: what was put there
	moved   map[string]string // path in the archive: path in the new RECORD
	changed map[string][]byte // path in the archive: its new content
	sources map[string]string // path in the image of a .py file: its path as RECORD counts it
	written []row             // of files that are not in the archive
}

// add puts a file in the tree; from names it for messages.
func (l *layout) add(at, from string, mode uint32, size int64, c layers.Content) error {
	p := strings.TrimPrefix(at, "/")
	if other, ok := l.at[p]; ok {
		return l.w.refuse(from, "goes to %s, and so does %q", at, other)
	}
	l.at[p] = from
	l.entries = append(l.entries, layers.Entry{
		Path: p, Kind: layers.File, Mode: mode, Size: size, Content: c, Origin: l.w.Name.Filename,
	})
	return nil
}

// place puts one file of the archive where it belongs.
func (l *layout) place(f *file, first string) error {
	if l.isOurs(f.name) {
		return nil
	}
	k, sub, err := l.w.target(f.name, l.lib)
	if err != nil {
		return err
	}
	if k == "scripts" && l.isWrapper(sub) {
		return nil
	}
	at, recorded := l.scheme.dest(k, l.w.Project, sub)
	l.moved[f.name] = l.relative(recorded)
	if strings.HasSuffix(at, ".py") {
		l.sources[strings.TrimPrefix(at, "/")] = recorded
	}
	mode := uint32(0o644)
	if f.executable || k == "scripts" {
		mode = 0o755
	}
	if k == "scripts" {
		text, err := f.adapted(first)
		if err != nil {
			return err
		}
		if text != nil {
			l.changed[f.name] = text
			return l.add(at, f.name, mode, int64(len(text)), layers.Bytes(text))
		}
	}
	return l.add(at, f.name, mode, f.size, f)
}

// addBytecode adds .pyc files, and their lines in RECORD, which have neither hash
// nor size (PEP 376, "RECORD"): they are not the wheel's.
func (l *layout) addBytecode(pycs layers.Tree) error {
	for _, e := range pycs.Entries() {
		if e.Kind == layers.Dir {
			continue
		}
		recorded, ok := l.sources[sourceOf(e.Path)]
		if !ok || e.Kind != layers.File {
			return fmt.Errorf("lay out wheel %s: /%s is no bytecode of it", l.w.Name.Filename, e.Path)
		}
		if _, ok := l.at[e.Path]; ok {
			l.entries = slices.DeleteFunc(l.entries, func(other layers.Entry) bool { return other.Path == e.Path })
		}
		l.at[e.Path] = e.Path
		l.entries = append(l.entries, e)
		l.written = append(l.written, row{path: l.relative(path.Join(path.Dir(recorded), "__pycache__", path.Base(e.Path)))})
	}
	return nil
}

// sourceOf returns the source of a .pyc file, as importlib.util.source_from_cache
// does (PEP 3147): "a/m.py" of "a/__pycache__/m.cpython-313.pyc"; "" of any other.
func sourceOf(pyc string) string {
	dir, name := path.Split(pyc)
	name, isPyc := strings.CutSuffix(name, ".pyc")
	parent, isCached := strings.CutSuffix(dir, "__pycache__/")
	dot := strings.LastIndexByte(name, '.')
	if !isPyc || !isCached || dot <= 0 {
		return ""
	}
	return parent + name[:dot] + ".py"
}

// isOurs says whether name is a file that installers write: a wheel that has
// one cannot speak for how it was installed.
func (l *layout) isOurs(name string) bool {
	base, ok := strings.CutPrefix(name, l.w.distInfo+"/")
	return ok && slices.Contains([]string{"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"}, base)
}

// isWrapper says whether a file of .data/scripts is what old tools wrote for an
// entry point; pip leaves those out in favour of its own.
func (l *layout) isWrapper(sub string) bool {
	name := path.Base(sub)
	for _, suffix := range []string{".exe", "-script.py", ".pya"} {
		if len(name) >= len(suffix) && strings.EqualFold(name[len(name)-len(suffix):], suffix) {
			name = name[:len(name)-len(suffix)]
			break
		}
	}
	return l.w.points.has(name)
}

// target returns the scheme's path that a file of the archive belongs to, and
// its path there (PEP 427, "The .data directory").
func (w *Wheel) target(name string, lib key) (key, string, error) {
	top, rest, _ := strings.Cut(name, "/")
	if !strings.HasSuffix(top, ".data") {
		return lib, name, nil
	}
	k, sub, ok := strings.Cut(rest, "/")
	if !ok {
		return "", "", w.refuse(name, "lies in no directory of %s", top)
	}
	switch key(k) {
	case "purelib", "platlib", "scripts", "data", "headers":
		return key(k), sub, nil
	}
	return "", "", w.refuse(name, "is for %q; there are purelib, platlib, scripts, data and headers", k)
}

// relative returns a path as RECORD has it: relative to the directory that
// .dist-info lies in, or absolute where it shares nothing with it.
func (l *layout) relative(p string) string {
	base := l.scheme.dir(l.lib, "")
	if l.scheme.recorded != nil {
		base = l.scheme.recorded.dir(l.lib, "")
	}
	rel, err := filepath.Rel(base, p)
	if err != nil { // both are absolute and clean: never
		return p
	}
	return rel
}

// write adds a file that is not in the archive, and its line in RECORD.
func (l *layout) write(k key, sub string, mode uint32, content []byte) error {
	at, recorded := l.scheme.dest(k, l.w.Project, sub)
	l.written = append(l.written, rowOf(l.relative(recorded), content))
	return l.add(at, path.Base(sub), mode, int64(len(content)), layers.Bytes(content))
}

// writeDistInfo adds the files that installers write to .dist-info, RECORD last.
func (l *layout) writeDistInfo(o Options) error {
	in := func(name string) string { return path.Join(l.w.distInfo, name) }
	installer := o.Installer
	if installer == "" {
		installer = "pip"
	}
	if err := l.write(l.lib, in("INSTALLER"), 0o644, []byte(installer+"\n")); err != nil {
		return err
	}
	if o.DirectURL != nil {
		text, err := o.DirectURL.encode()
		if err != nil {
			return fmt.Errorf("lay out wheel %s: %w", l.w.Name.Filename, err)
		}
		if err := l.write(l.lib, in("direct_url.json"), 0o644, text); err != nil {
			return err
		}
	}
	if o.Requested {
		if err := l.write(l.lib, in("REQUESTED"), 0o644, nil); err != nil {
			return err
		}
	}
	record := formatRecord(l.record())
	at, _ := l.scheme.dest(l.lib, l.w.Project, in("RECORD"))
	return l.add(at, in("RECORD"), 0o644, int64(len(record)), layers.Bytes(record))
}

// record returns the new RECORD's lines: the wheel's own at their new paths,
// then what was written, then files that had no line.
func (l *layout) record() []row {
	rows := make([]row, 0, len(l.w.rows)+len(l.written)+1)
	self := path.Join(l.w.distInfo, "RECORD")
	listed := make(map[string]bool, len(l.w.rows))
	for _, r := range l.w.rows {
		name := path.Clean(r.path)
		listed[name] = true
		if name != self && l.isOurs(name) {
			continue
		}
		if name == self {
			r.hash, r.size = "", ""
		}
		if moved, ok := l.moved[name]; ok {
			r.path = moved
		}
		if text, ok := l.changed[name]; ok {
			r = rowOf(r.path, text)
		}
		rows = append(rows, r)
	}
	rows = append(rows, l.written...)
	if !listed[self] {
		rows = append(rows, row{path: self})
	}
	for _, f := range l.w.files {
		if !listed[f.name] && f.name != self && !l.isOurs(f.name) {
			rows = append(rows, row{path: l.moved[f.name]})
		}
	}
	return rows
}

// warnCase warns of paths that differ only by case: Linux keeps both, but a
// checkout or another system would not.
func (w *Wheel) warnCase(log *slog.Logger) {
	if log == nil {
		return
	}
	seen := make(map[string]string, len(w.files))
	for _, f := range w.files {
		folded := strings.ToLower(f.name)
		if other, ok := seen[folded]; ok {
			log.Warn(fmt.Sprintf("wheel %s has %q and %q, which differ only by case", w.Name.Filename, other, f.name))
			continue
		}
		seen[folded] = f.name
	}
}
