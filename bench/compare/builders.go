package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// builder builds and pushes one context, over and over.
type builder interface {
	// forget empties its caches.
	forget(ctx context.Context) error
	// push builds and pushes; earlier says that an image that it has pushed before
	// is to be gone on from.
	push(ctx context.Context, tag string, earlier bool) (measured, error)
	end()
}

func (b *bench) builder(name string, c *buildContext, repository string) (builder, error) {
	p := peer{b: b, c: c, repository: b.registry.host + "/" + repository, cache: filepath.Join(b.work, "cache-"+repository)}
	switch name {
	case "boyabuild":
		return &boyabuild{p}, nil
	case "buildkit":
		return &buildkit{peer: p}, nil
	case "buildah":
		return &buildah{p}, nil
	case "uv+crane":
		return &plain{p, b.uv + " " + uvInstall, withCrane}, nil
	case "pip+crane":
		return &plain{p, filepath.Join(filepath.Dir(b.uv), "pip") + " " + pipInstall, withCrane}, nil
	case "uv+umoci":
		return &plain{p, b.uv + " " + uvInstall, withUmoci}, nil
	}
	return nil, fmt.Errorf("there is no builder %s", name)
}

// peer is what builders have in common.
type peer struct {
	b          *bench
	c          *buildContext
	repository string
	cache      string
	tags       []string // pushed, the newest last
}

func (p *peer) forget(context.Context) error { return os.RemoveAll(p.cache) }
func (p *peer) end()                         { os.RemoveAll(p.cache) }

func (p *peer) run(ctx context.Context, tag string, daemon int, env []string, name string, args ...string) (measured, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	m, err := p.b.measure(ctx, cmd, daemon)
	if err == nil && !slices.Contains(p.tags, tag) {
		p.tags = append(p.tags, tag)
	}
	return m, err
}

type boyabuild struct{ peer }

func (p *boyabuild) push(ctx context.Context, tag string, _ bool) (measured, error) {
	env := []string{"BOYABUILD_CACHE=" + p.cache, "UV_FIND_LINKS=" + p.b.wheels, "PIP_FIND_LINKS="}
	return p.run(ctx, tag, 0, env, p.b.boyabuild, "push", "-q", "--repository", p.repository, "--tag", tag, p.c.dir)
}

// buildkit has its daemon running, which is its best case.
type buildkit struct {
	peer
	daemon *exec.Cmd
	socket string
}

func (p *buildkit) forget(ctx context.Context) error {
	p.end()
	if err := os.MkdirAll(p.cache, 0o755); err != nil {
		return err
	}
	p.socket = "unix://" + filepath.Join(p.cache, "sock")
	config := filepath.Join(p.cache, "buildkitd.toml")
	if err := os.WriteFile(config, fmt.Appendf(nil, "[registry.%q]\n  http = true\n", p.b.registry.host), 0o644); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(p.cache, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	p.daemon = exec.Command(filepath.Join(p.b.peers, "buildkitd"), "--config", config, "--addr", p.socket, "--root", filepath.Join(p.cache, "root"),
		"--oci-worker-net", "host", "--containerd-worker=false", "--oci-worker-gc=false")
	p.daemon.Stdout, p.daemon.Stderr = log, log
	if err := p.daemon.Start(); err != nil {
		return err
	}
	for range 100 {
		if exec.CommandContext(ctx, filepath.Join(p.b.peers, "buildctl"), "--addr", p.socket, "debug", "workers").Run() == nil {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	text, _ := os.ReadFile(log.Name())
	return fmt.Errorf("buildkitd does not start: %s", text[max(0, len(text)-600):])
}

func (p *buildkit) end() {
	if p.daemon != nil {
		p.daemon.Process.Signal(os.Interrupt) //nolint:errcheck // it may have ended
		p.daemon.Wait()                       //nolint:errcheck // it was told to
		p.daemon = nil
	}
	os.RemoveAll(p.cache)
}

func (p *buildkit) push(ctx context.Context, tag string, earlier bool) (measured, error) {
	args := []string{"--addr", p.socket, "build", "--progress", "plain", "--frontend", "dockerfile.v0", "--opt", "filename=Dockerfile.mount",
		"--local", "context=" + p.c.dir, "--local", "dockerfile=" + p.c.dir, "--local", "wheels=" + p.b.wheels, "--opt", "context:wheels=local:wheels",
		"--output", fmt.Sprintf("type=image,name=%s:%s,push=true,registry.insecure=true", p.repository, tag), "--export-cache", "type=inline"}
	if earlier && len(p.tags) > 0 {
		args = append(args, "--import-cache", fmt.Sprintf("type=registry,ref=%s:%s,registry.insecure=true", p.repository, p.tags[len(p.tags)-1]))
	}
	return p.run(ctx, tag, p.daemon.Process.Pid, nil, filepath.Join(p.b.peers, "buildctl"), args...)
}

type buildah struct{ peer }

func (p *buildah) forget(ctx context.Context) error {
	exec.CommandContext(ctx, "buildah", append(p.flags(), "rmi", "-af")...).Run() //nolint:errcheck // there may be none
	return os.RemoveAll(p.cache)
}

func (p *buildah) end() {
	exec.Command("buildah", append(p.flags(), "rmi", "-af")...).Run() //nolint:errcheck // there may be none
	os.RemoveAll(p.cache)
}

func (p *buildah) flags() []string {
	return []string{"--root", filepath.Join(p.cache, "root"), "--runroot", filepath.Join(p.cache, "run"), "--storage-driver", "overlay"}
}

func (p *buildah) push(ctx context.Context, tag string, earlier bool) (measured, error) {
	image := p.repository + ":" + tag
	global := strings.Join(p.flags(), " ")
	from := ""
	if earlier {
		from = "--cache-from " + p.repository
	}
	script := fmt.Sprintf("set -e; buildah %s build --layers --isolation chroot --tls-verify=false %s -v %s:/wheels:ro -f %s/Dockerfile.volume -t %s %s; buildah %s push --tls-verify=false %s",
		global, from, p.b.wheels, p.c.dir, image, p.c.dir, global, image)
	return p.run(ctx, tag, 0, nil, "sh", "-c", script)
}

// plain has no builder: packages are installed into a folder, and that and the app
// are put on the base as they are.
type plain struct {
	peer
	install string // with %[1]s wheels, %[2]s folder, %[3]s requirements, %[4]s cache
	layers  func(p *plain, tag string) string
}

// The installers, with what makes them fastest: no index, and no bytecode, which uv
// leaves out by itself.
const (
	uvInstall  = "pip install -q --no-index --find-links %[1]s --target %[2]s --cache-dir %[4]s/uv --python-version 3.11 --python-platform x86_64-manylinux_2_36 --only-binary :all: -r %[3]s"
	pipInstall = "install -q --no-index --find-links %[1]s --target %[2]s --no-cache-dir --no-compile --disable-pip-version-check --only-binary :all: -r %[3]s"
)

// site is where packages go in the base.
const site = "usr/local/lib/python3.11/dist-packages"

func (p *plain) push(ctx context.Context, tag string, _ bool) (measured, error) {
	script := fmt.Sprintf("set -e; rm -rf %[1]s/tree %[1]s/app; mkdir -p %[1]s/tree/%[2]s %[1]s/app/srv; tar -C %[3]s --exclude='./skip*' -cf - . | tar -C %[1]s/app/srv -xf -; ", p.cache, site, p.c.dir)
	if p.hasPackages() {
		script += fmt.Sprintf(p.install, p.b.wheels, filepath.Join(p.cache, "tree", site), filepath.Join(p.c.dir, "requirements.txt"), p.cache) + "; "
	}
	return p.run(ctx, tag, 0, nil, "sh", "-c", script+p.layers(p, tag))
}

func (p *plain) hasPackages() bool {
	_, err := os.Stat(filepath.Join(p.c.dir, "requirements.txt"))
	return err == nil
}

// withCrane appends a layer for the packages and one for the app.
func withCrane(p *plain, tag string) string {
	files := ""
	for _, dir := range p.dirs() {
		files += fmt.Sprintf("tar -C %[1]s/%[2]s -cf %[1]s/%[2]s.tar .; ", p.cache, dir)
	}
	for _, dir := range p.dirs() {
		files += fmt.Sprintf("F=\"$F -f %s/%s.tar\"; ", p.cache, dir)
	}
	return files + fmt.Sprintf("%s append --insecure -b %s/base:1 $F -t %s:%s", filepath.Join(p.b.peers, "crane"), p.b.registry.host, p.repository, tag)
}

// withUmoci inserts the same into a layout, which skopeo fetches and sends. The base
// stays there.
func withUmoci(p *plain, tag string) string {
	layout := filepath.Join(p.cache, "layout")
	script := fmt.Sprintf("[ -e %[1]s/index.json ] || skopeo copy -q --src-tls-verify=false docker://%[2]s/base:1 oci:%[1]s:base; umoci tag --image %[1]s:base %[3]s; ", layout, p.b.registry.host, tag)
	for _, dir := range p.dirs() {
		script += fmt.Sprintf("umoci insert --image %s:%s %s/%s /; ", layout, tag, p.cache, dir)
	}
	return script + fmt.Sprintf("skopeo copy -q --dest-tls-verify=false oci:%s:%s docker://%s:%s", layout, tag, p.repository, tag)
}

func (p *plain) dirs() []string {
	if p.hasPackages() {
		return []string{"tree", "app"}
	}
	return []string{"app"}
}
