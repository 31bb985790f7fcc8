package lockfile

// Beside returns the directories and files that a lock takes its packages from,
// relative to its folder: sorted, without the folder itself. What it selects is
// among them, whatever the target.
func Beside(l Locker) []string {
	var list []string
	add := func(place string) {
		if place = slashed(place); place != "" && place != "." && place != "./" {
			list = append(list, place)
		}
	}
	switch l := l.(type) {
	case *uvLock:
		for _, p := range l.packages {
			switch p.source.kind {
			case "directory", "editable", "path":
				add(p.source.place)
			}
			for _, w := range p.wheels {
				add(w.Path)
			}
			if p.sdist != nil {
				add(p.sdist.Path)
			}
		}
	case *poetryLock:
		for _, p := range l.packages {
			if p.source.kind == "directory" || p.source.kind == "file" {
				add(p.source.url)
			}
		}
	case *pipenvLock:
		for _, group := range l.groups {
			for _, p := range group {
				if p.isLocal {
					add(p.local.Path)
				}
			}
		}
	case *File:
		for _, p := range l.Packages {
			if p.Directory != nil {
				add(p.Directory.Path)
			}
			files := p.Wheels
			for _, f := range []*Artifact{p.Archive, p.Sdist} {
				if f != nil {
					files = append(files[:len(files):len(files)], *f)
				}
			}
			for _, f := range files {
				add(f.Path)
			}
		}
	}
	return sortedSet(list)
}
