package source

import (
	"errors"
	"strings"
	"testing"

	"github.com/boyabuild/boyabuild/pkg/layers"
	"github.com/boyabuild/boyabuild/pkg/python"
)

// What is not understood completely is left to the back-end, and the error says
// which file and key it is.
func TestNeedsBuild(t *testing.T) {
	const (
		head       = "-- pyproject.toml --\n"
		named      = "[project]\nname='app'\nversion='1'\ndescription='x'\n"
		hatch      = "[build-system]\nrequires=['hatchling']\nbuild-backend='hatchling.build'\n"
		flit       = "[build-system]\nrequires=['flit_core']\nbuild-backend='flit_core.buildapi'\n"
		poetry     = "[build-system]\nrequires=['poetry-core']\nbuild-backend='poetry.core.masonry.api'\n"
		uv         = "[build-system]\nrequires=['uv_build']\nbuild-backend='uv_build'\n"
		setuptools = "[build-system]\nrequires=['setuptools']\nbuild-backend='setuptools.build_meta'\n"
		app        = "-- app/__init__.py --\n"
		cfg        = "-- setup.cfg --\n[metadata]\nname=app\nversion=1\n[options]\npackages=app\n"
	)
	for _, test := range []struct{ name, project, want string }{
		{"back-end", head + named + "[build-system]\nrequires=['maturin']\nbuild-backend='maturin'\n", "pyproject.toml:7: build-system.build-backend"},
		{"in-tree back-end", head + named + hatch + "backend-path=['.']\n", "build-system.backend-path"},
		{"plugin", head + named + "[build-system]\nrequires=['hatchling','hatch-vcs']\nbuild-backend='hatchling.build'\n" + app, "build-system.requires: hatch-vcs"},
		{"old version", head + named + "[build-system]\nrequires=['setuptools<60']\nbuild-backend='setuptools.build_meta'\n" + app, "build-system.requires: the rules of setuptools<60"},
		{"marker", head + named + "[build-system]\nrequires=['setuptools; python_version>\"3\"']\nbuild-backend='setuptools.build_meta'\n" + app, "build-system.requires"},
		{"invalid to us", head + "[project]\nname='app'\nversion='1'\nunknown=1\n" + hatch + app, "pyproject.toml:4"},

		{"hatch hook", head + named + hatch + "[tool.hatch.build.hooks.custom]\n" + app, "tool.hatch.build.hooks.custom: build hooks run code"},
		{"hatch target hook", head + named + hatch + "[tool.hatch.build.targets.wheel.hooks.cython]\n" + app, "hooks.cython"},
		{"hatch metadata hook", head + "[project]\nname='app'\nversion='1'\ndynamic=['readme']\n" + hatch + "[tool.hatch.metadata.hooks.fancy-pypi-readme]\n" + app, "fancy-pypi-readme"},
		{"hatch dynamic", head + "[project]\nname='app'\nversion='1'\ndynamic=['readme']\n" + hatch + app, "project.dynamic: readme"},
		{"hatch version source", head + "[project]\nname='app'\ndynamic=['version']\n" + hatch + "[tool.hatch.version]\nsource='vcs'\n" + app, "tool.hatch.version.source"},
		{"hatch version pattern", head + "[project]\nname='app'\ndynamic=['version']\n" + hatch + "[tool.hatch.version]\npath='app/__init__.py'\npattern='x'\n" + app, "tool.hatch.version.pattern"},
		{"hatch no version", head + "[project]\nname='app'\ndynamic=['version']\n" + hatch + "[tool.hatch.version]\npath='app/__init__.py'\n" + app, "app/__init__.py"},
		{"hatch no package", head + named + hatch + "-- other/__init__.py --\n", "tool.hatch.build.targets.wheel: no package"},
		{"hatch.toml", head + named + hatch + "-- hatch.toml --\n" + app, "hatch.toml"},
		{"hatch wrong type", head + named + hatch + "[tool.hatch.build.targets.wheel]\npackages='app'\n" + app, "packages: is not an array of strings"},
		{"hatch outside", head + named + hatch + "[tool.hatch.build.targets.wheel.force-include]\n'../etc'='app/etc'\n" + app, "outside"},
		{"hatch twice", head + named + hatch + "[tool.hatch.build.targets.wheel.force-include]\n'x'='app/__init__.py'\n-- x --\n" + app, "two files"},
		{"compiled", head + named + hatch + app + "-- app/fast.cpython-313-x86_64-linux-gnu.so --\n", "compiled"},
		{"no readme", head + named + "readme='README.md'\n" + hatch + app, "README.md"},

		{"script without a function", head + named + "[project.gui-scripts]\nstart='app'\n" + hatch + app, "pyproject.toml:6: project.gui-scripts.start"},
		{"script with half an extra", head + named + "[project.scripts]\nstart='app:x [y'\n" + hatch + app, "project.scripts.start"},
		{"script over lines", head + named + "[project.scripts]\nstart='''app\n:x'''\n" + flit + app, "project.scripts.start"},
		{"script with a space", head + named + "[project.scripts]\n'a b'='app:x'\n" + hatch + app, "project.scripts.a b"},
		{"script with a path", head + named + "[project.scripts]\n'../a'='app:x'\n" + setuptools + app, "project.scripts.../a"},
		{"script that is a comment", head + named + "[project.scripts]\n'#a'='app:x'\n" + setuptools + app, "project.scripts.#a"},
		{"script among entry points", head + "[tool.poetry]\nname='app'\nversion='1'\ndescription=''\nauthors=[]\n[tool.poetry.plugins.console_scripts]\na='app:x'\n" + poetry + app, "tool.poetry.plugins.console_scripts"},
		{"entry point over lines", head + named + "[project.entry-points.g]\na='''app\n:x'''\n" + hatch + app, "project.entry-points.g.a"},
		{"entry point that is a comment", head + named + "[project.entry-points.g]\n';a'='app'\n" + hatch + app, "project.entry-points.g.;a"},
		{"entry point group", head + named + "[project.entry-points.\"a]b\"]\na='app'\n" + hatch + app, "project.entry-points.a]b"},
		{"poetry script", head + "[tool.poetry]\nname='app'\nversion='1'\ndescription=''\nauthors=[]\n[tool.poetry.scripts]\nstart='app'\n" + poetry + app, "pyproject.toml:7: tool.poetry.scripts.start"},
		{"cfg script", app + "-- setup.py --\nimport setuptools\nsetuptools.setup()\n" + cfg + "[options.entry_points]\ngui_scripts =\n  start = app\n", "setup.cfg:7: options.entry_points.gui_scripts"},

		{"flit two modules", head + named + flit + app + "-- app.py --\n", "tool.flit.module.name"},
		{"flit code", head + "[project]\nname='app'\ndynamic=['version']\ndescription=''\n" + flit + "-- app/__init__.py --\n__version__ = compute()\n", "app/__init__.py: __version__ is not"},
		{"flit import", head + "[project]\nname='app'\ndynamic=['version']\ndescription=''\n" + flit + "-- app/__init__.py --\nfrom x import __version__\n", "no __version__"},
		{"flit docstring", head + "[project]\nname='app'\nversion='1'\ndynamic=['description']\n" + flit + app, "no docstring"},
		{"flit tables", head + named + flit + "[tool.flit.metadata]\nmodule='x'\n" + app, "tool.flit.metadata"},

		{"poetry build", head + named + poetry + "[tool.poetry.build]\nscript='b.py'\n" + app, "tool.poetry.build"},
		{"poetry no package mode", head + named + poetry + "[tool.poetry]\npackage-mode=false\n" + app, "package-mode"},
		{"poetry path", head + "[tool.poetry]\nname='app'\nversion='1'\ndescription=''\nauthors=[]\n[tool.poetry.dependencies]\nx={path='../x'}\n" + poetry + app, "dependencies.x"},
		{"poetry git", head + named + poetry + app + "-- .git/HEAD --\n-- .gitignore --\n*.json\n-- app/data.json --\n", "app/data.json: whether git"},
		{"poetry license", head + "[tool.poetry]\nname='app'\nversion='1'\ndescription=''\nauthors=[]\nlicense='My own'\n" + poetry + app, "tool.poetry.license"},
		{"poetry empty", head + named + poetry + "-- app/data.txt --\n", "app: it has no modules"},

		{"uv dynamic", head + "[project]\nname='app'\ndynamic=['version']\n" + uv + "-- src/app/__init__.py --\n", "project.dynamic"},
		{"uv no module", head + named + uv + app, "src/app/__init__.py"},
		{"uv unknown", head + named + uv + "[tool.uv.build-backend]\nnew-setting=1\n-- src/app/__init__.py --\n", "new-setting"},
		{"uv venv", head + named + uv + "-- src/app/__init__.py --\n-- src/app/env/pyvenv.cfg --\n", "virtual environment"},

		{"setup.py", head + named + setuptools + app + "-- setup.py --\nfrom setuptools import setup\nsetup(name='x')\n", "setup.py: the project is configured by code"},
		{"setup.py only", app + "-- setup.py --\nimport os, setuptools\nsetuptools.setup()\n", "setup.py"},
		{"setup.py hidden", app + "-- setup.py --\nfrom setuptools import setup; import x\nsetup()\n", "setup.py"},
		{"extension", head + named + setuptools + "[[tool.setuptools.ext-modules]]\nname='x'\n" + app, "tool.setuptools.ext-modules"},
		{"cmdclass", head + named + setuptools + "[tool.setuptools]\ncmdclass={build_py='x.y'}\n" + app, "tool.setuptools.cmdclass"},
		{"distutils", head + named + setuptools + "[tool.distutils.bdist_wheel]\nuniversal=true\n" + app, "tool.distutils"},
		{"data files", head + named + setuptools + "[tool.setuptools.data-files]\netc=['x']\n" + app, "data-files"},
		{"several packages", head + named + setuptools + app + "-- web/__init__.py --\n", "app, web"},
		{"dynamic by code", head + "[project]\nname='app'\ndynamic=['version']\n" + setuptools + app, "project.dynamic: version"},
		{"attr by code", head + "[project]\nname='app'\ndynamic=['version']\n" + setuptools + "[tool.setuptools.dynamic]\nversion={attr='app.v'}\n-- app/__init__.py --\nv = '.'.join('12')\n", "app/__init__.py: v is not"},
		{"both files", head + named + setuptools + app + cfg, "setup.cfg:1: metadata"},
		{"tag", head + named + setuptools + app + "-- setup.cfg --\n[egg_info]\ntag_build = .dev\n", "egg_info.tag_build"},
		{"universal", head + named + setuptools + app + "-- setup.cfg --\n[bdist_wheel]\nuniversal=1\n", "setup.cfg:1: bdist_wheel"},
		{"setup_requires", app + "-- setup.py --\nimport setuptools\nsetuptools.setup()\n" + cfg + "setup_requires=pbr\n", "options.setup_requires"},
		{"no package dir", app + "-- setup.py --\nimport setuptools\nsetuptools.setup()\n-- setup.cfg --\n[metadata]\nname=app\nversion=1\n[options]\npackages=find:\n[options.packages.find]\nwhere=src\n-- src/a/__init__.py --\n", "package_dir"},
		{"manifest", head + named + setuptools + app + "-- MANIFEST.in --\ninclude-all x\n", "MANIFEST.in"},
		{"build left behind", head + named + setuptools + app + "-- build/lib/app/old.py --\n", "build/lib"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := build(t, parse(t, test.project), false)
			var needs *NeedsBuildError
			if !errors.As(err, &needs) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, which is not a NeedsBuildError with %q", err, test.want)
			}
		})
	}
}

// What is wrong elsewhere in the file does not hide how the project is built.
func TestBuildRequires(t *testing.T) {
	bs, err := BuildRequires(parse(t, "-- pyproject.toml --\n[project]\nname='app'\nversion='one'\n[build-system]\nrequires=['x>=1']\nbuild-backend='x.y'\n"))
	if err != nil || bs.Backend != "x.y" || len(bs.Requires) != 1 || bs.Requires[0].String() != "x>=1" {
		t.Error(bs, err)
	}
}

func TestBareSetup(t *testing.T) {
	for text, want := range map[string]bool{
		"from setuptools import setup\n\nsetup()\n":                                      true,
		"#!/usr/bin/env python\n# hello\nimport setuptools\n\nsetuptools.setup()\n":      true,
		"import setuptools\n\nif __name__ == \"__main__\":\n    setuptools.setup()\n":    true,
		"\"\"\"Only for old pips.\"\"\"\nfrom setuptools import setup\nsetup() # done\n": true,
		"from setuptools import setup\nsetup(use_scm_version=True)\n":                    false,
		"from setuptools import setup\nopen('x')\nsetup()\n":                             false,
		"from mine import setup\nsetup()\n":                                              false,
		"":                                                                               false,
		"import setuptools\n":                                                            false,
		"from setuptools import setup\nsetup()\nsetup()\n":                               false,
		"\"\"\"a\"\"\"; import os; os.system(\"\"\"x\"\"\")\nfrom setuptools import setup\nsetup()\n": false,
		"from setuptools import setup, find_packages\nsetup()\n":                                      false,
		"from distutils.core import setup\nsetup()\n":                                                 false,
		"from setuptools import setup\nif True: setup()\n":                                            false,
		"from setuptools import setup\nif __name__ == '__main__': setup()\n":                          true,
		"import setuptools\nfrom setuptools import setup\nsetup()\n":                                  true,
		"import setuptools as s\ns.setup()\n":                                                         false,
	} {
		if got := isBareSetup(text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestEditableDirectory(t *testing.T) {
	for _, dir := range []string{"app", "", "/a\nimport os"} {
		if _, err := Editable(t.Context(), parse(t, ""), dir, nil, Options{}); err == nil {
			t.Errorf("%q is taken for an absolute path", dir)
		}
	}
}

// Back-ends do not agree on links to directories; links to files are files.
func TestLinks(t *testing.T) {
	settings := map[string]string{
		"hatchling.build":         "requires=['hatchling']",
		"flit_core.buildapi":      "requires=['flit_core']",
		"poetry.core.masonry.api": "requires=['poetry-core']",
		"uv_build":                "requires=['uv_build']",
		"setuptools.build_meta":   "requires=['setuptools']",
	}
	for backend, requires := range settings {
		pyproject := "[project]\nname='app'\nversion='1'\ndescription='x'\n[build-system]\nbuild-backend='" + backend + "'\n" + requires + "\n"
		text := func(p, s string) layers.Entry {
			return layers.Entry{Path: p, Kind: layers.File, Mode: 0o644, Size: int64(len(s)), Content: layers.Bytes([]byte(s))}
		}
		for name, links := range map[string][]layers.Entry{
			"package": {{Path: "src/app", Kind: layers.Symlink, Link: "../real"}, text("real/__init__.py", "")},
			"within":  {text("src/app/__init__.py", ""), {Path: "src/app/sub", Kind: layers.Symlink, Link: "../../other"}, text("other/__init__.py", "")},
			"file":    {text("src/app/__init__.py", ""), {Path: "src/app/f.py", Kind: layers.Symlink, Link: "__init__.py"}},
		} {
			tree, err := layers.NewTree(append(links, text("pyproject.toml", pyproject)))
			if err != nil {
				t.Fatal(err)
			}
			w, err := build(t, tree, false)
			var needs *NeedsBuildError
			if name == "file" && backend != "poetry.core.masonry.api" {
				if _, ok := w.files["app/f.py"]; err != nil || !ok {
					t.Errorf("%s: %s: %v", backend, name, err)
				}
			} else if !errors.As(err, &needs) {
				t.Errorf("%s: %s: %v", backend, name, err)
			}
		}
	}
}

// A configuration file that cannot be read is an error in that file.
func TestUnreadableFile(t *testing.T) {
	tree, err := layers.NewTree([]layers.Entry{{Path: "pyproject.toml/x", Kind: layers.File}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = Metadata(tree)
	var file *python.FileError
	if !errors.As(err, &file) || err.Error() != "pyproject.toml: is a directory" {
		t.Errorf("got %v, want an error in pyproject.toml", err)
	}
}
