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
		return &crane{p}, nil
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

// crane appends two layers to the base: what uv has installed, and the app.
type crane struct{ peer }

func (p *crane) push(ctx context.Context, tag string, _ bool) (measured, error) {
	crane := filepath.Join(p.b.peers, "crane")
	tree := filepath.Join(p.cache, "tree")
	base := p.b.registry.host + "/base:1"
	script := "set -e; "
	if _, err := os.Stat(filepath.Join(p.c.dir, "requirements.txt")); err == nil {
		script += fmt.Sprintf("rm -rf %[1]s; mkdir -p %[1]s; %[2]s pip install -q --no-index --find-links %[3]s --target %[1]s/usr/local/lib/python3.11/dist-packages --cache-dir %[4]s/uv --python-version 3.11 --python-platform x86_64-manylinux_2_36 --only-binary :all: -r %[5]s/requirements.txt; tar -C %[1]s -cf %[4]s/deps.tar .; %[6]s append --insecure -b %[7]s -f %[4]s/deps.tar -t %[8]s:deps >/dev/null; ",
			tree, p.b.uv, p.b.wheels, p.cache, p.c.dir, crane, base, p.repository)
		base = p.repository + ":deps"
	}
	script += fmt.Sprintf("mkdir -p %[1]s; tar -C %[2]s --exclude='./skip*' --transform 's,^\\.,srv,' -cf %[1]s/app.tar .; %[3]s append --insecure -b %[4]s -f %[1]s/app.tar -t %[5]s:%[6]s", p.cache, p.c.dir, crane, base, p.repository, tag)
	return p.run(ctx, tag, 0, nil, "sh", "-c", script)
}
