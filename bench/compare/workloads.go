package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// buildContext is a folder to build, which one builder has for itself.
type buildContext struct {
	dir  string
	bump string // "django==5.2.19 5.2.18": what is changed, "" for nothing
	n    int    // how often a file was edited
	app  string // the file that is edited
}

// base builds what all images stand on, a Python with uv, and pushes it.
func (b *bench) base(ctx context.Context) error {
	dir := filepath.Join(b.work, "base")
	uv, err := os.ReadFile(b.uv)
	if err != nil {
		return err
	}
	err = write(dir, map[string]string{
		"Dockerfile": "FROM python\nCOPY --chmod=755 uv /usr/local/bin/uv\n",
		"uv":         string(uv),
	})
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, b.boyabuild, "push", "-q", "--build-context", "python=debian://bookworm?packages=python3,dash,coreutils", "--repository", b.registry.host+"/base", "--tag", "1", dir)
	cmd.Env = append(os.Environ(), "BOYABUILD_CACHE="+filepath.Join(b.work, "base-cache"))
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build the base: %w", err)
	}
	return nil
}

// context makes the folder of a workload.
func (b *bench) context(name, dir string) (*buildContext, error) {
	c := &buildContext{dir: dir, app: "app/main.py"}
	from := "FROM " + b.registry.host + "/base:1\nWORKDIR /srv\n"
	rest := "COPY . .\nCMD [\"python3\", \"-m\", \"app\"]\n"
	files := map[string]string{}
	install := func(line string) string { return "COPY requirements.txt .\nRUN " + line + "\n" }
	switch name {
	case "W1", "W2":
		text, err := os.ReadFile(filepath.Join(b.workloads, strings.ToLower(name)+".txt"))
		if err != nil {
			return nil, err
		}
		files["requirements.txt"] = string(text)
		c.bump = map[string]string{"W1": "jinja2==3.1.6 3.1.5", "W2": "django==5.2.19 5.2.18"}[name]
		const uv = "uv pip install --system --break-system-packages --no-index -r requirements.txt"
		files["Dockerfile"] = from + install(uv) + rest
		files["Dockerfile.mount"] = from + install("--mount=type=bind,from=wheels,target=/wheels "+uv+" --find-links /wheels") + rest
		files["Dockerfile.volume"] = from + install(uv+" --find-links /wheels") + rest
		for i := range 10 {
			files[fmt.Sprintf("app/module%d.py", i)] = text2k(uint64(i))
		}
	case "W3":
		for _, f := range []string{"", ".mount", ".volume"} {
			files["Dockerfile"+f] = from + rest
		}
		for i := range 20_000 {
			files[fmt.Sprintf("src/p%d/m%d/f%d.py", i%150, i/150%10, i)] = text2k(uint64(i))
		}
		var ignore strings.Builder
		for i := range 30 {
			fmt.Fprintf(&ignore, []string{"skip%d\n", "**/skip%d/**\n", "skip%d/**/*.txt\n"}[i%3], i)
		}
		files[".dockerignore"] = ignore.String()
		for i := range 9_000 {
			files[fmt.Sprintf("skip%d/x%d/g%d.txt", i%30, i%7, i)] = "x"
		}
	default:
		return nil, fmt.Errorf("there is no workload %s", name)
	}
	files[c.app] = "print('0')\n"
	return c, write(dir, files)
}

// text2k is about 2 KB of text that compresses as sources do.
func text2k(seed uint64) string {
	r := rand.New(rand.NewPCG(seed, 7))
	var b strings.Builder
	for n := 500 + r.IntN(3000); b.Len() < n; {
		fmt.Fprintf(&b, "def function_%d(argument, value_%d=None):\n    return %d + argument.name%d\n\n", r.IntN(1e6), r.IntN(1000), r.IntN(1e9), r.IntN(300))
	}
	return b.String()
}

func write(dir string, files map[string]string) error {
	for name, text := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// edit changes one file of the app.
func (c *buildContext) edit() {
	c.n++
	os.WriteFile(filepath.Join(c.dir, c.app), fmt.Appendf(nil, "print('%d')\n", c.n), 0o644) //nolint:errcheck // the file is there
}

// bumpPackage changes the version of one package.
func (c *buildContext) bumpPackage() error {
	p := filepath.Join(c.dir, "requirements.txt")
	text, err := os.ReadFile(p)
	if err != nil {
		return err
	}
	pin, version, _ := strings.Cut(c.bump, " ")
	name, _, _ := strings.Cut(pin, "==")
	return os.WriteFile(p, []byte(strings.Replace(string(text), pin, name+"=="+version, 1)), 0o644)
}
