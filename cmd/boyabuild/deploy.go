package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/spf13/cobra"

	"github.com/boyabuild/boyabuild/pkg/deploy"
	"github.com/boyabuild/boyabuild/pkg/local"
)

// deployFlags are the flags of everything that deploys.
type deployFlags struct {
	vars    []string
	wait    bool
	noWait  bool
	timeout time.Duration
	force   bool
}

func (f *deployFlags) register(cmd *cobra.Command) {
	s := cmd.Flags()
	s.StringArrayVar(&f.vars, "var", nil, "`NAME=VALUE` for ${NAME} in the task definition and service files")
	s.BoolVar(&f.wait, "wait", true, "wait until the deployment has completed or failed")
	s.BoolVar(&f.noWait, "no-wait", false, "return as soon as ECS has taken the deployment")
	s.DurationVar(&f.timeout, "timeout", 15*time.Minute, "how long a deployment may take")
	s.BoolVar(&f.force, "force", false, "replace the running tasks even if nothing has changed")
}

func deployCommand(e *env, g *globals) *cobra.Command {
	var d deployFlags
	var l localFlags
	var dryRun, diff bool
	cmd := &cobra.Command{
		Use:   "deploy IMAGE@DIGEST",
		Short: "Roll an image out on ECS and follow the deployment to its end",
		Long: `Put an image into the task definition, register a revision if it differs from
the newest, create or update the service, and follow this very deployment until
ECS says that it has completed or failed. Prints the task definition's ARN.

The files are those of deploy: in boyabuild.yaml. A deployment that fails or is
rolled back ends with status 3 and the reasons of the tasks that stopped.`,
		Example: `  boyabuild deploy "$(boyabuild push --tag 1.0)"
  boyabuild deploy --dry-run boyacky/web-app@sha256:…`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := newSession(cmd, e, g, nil)
			if err != nil {
				return err
			}
			defer s.close()
			ctx := cmd.Context()
			if err := s.deployable(); err != nil {
				return err
			}
			mode := background
			if dryRun || diff {
				mode = storing
			}
			c, err := s.cloud(ctx, &l, mode)
			if err != nil {
				return err
			}
			defer c.close()
			image, err := c.image(ctx, args[0])
			if err != nil {
				return err
			}
			in, err := s.deployInput(c, &d, image)
			if err != nil {
				return err
			}
			in.DryRun = dryRun || diff
			r, err := c.deploy(ctx, in)
			if err != nil {
				return err
			}
			if in.DryRun {
				return s.printPlan(r.Plan, diff)
			}
			fmt.Fprintln(e.stdout, r.TaskDefinitionARN)
			return nil
		},
	}
	d.register(cmd)
	l.register(cmd.Flags())
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "print what would be done, as JSON, and touch nothing")
	cmd.Flags().BoolVar(&diff, "diff", false, "print what would change, and touch nothing")
	return cmd
}

// deployable checks that the configuration says what to deploy.
func (s *session) deployable() error {
	d := s.config.Deploy
	if d.TaskDefinition != "" && d.Service != "" {
		return nil
	}
	at := s.config.path
	if at == "" {
		at = filepath.Join(s.context, configFile)
	}
	return &configError{file: at, reason: "does not say what to deploy",
		advice: "set deploy.task_definition and deploy.service to the JSON files that the AWS CLI takes"}
}

// image reads IMAGE@DIGEST and completes a bare ECR name.
func (c *cloud) image(ctx context.Context, text string) (name.Digest, error) {
	d, err := name.NewDigest(text, c.nameOptions()...)
	if err != nil {
		return name.Digest{}, &usageError{text: fmt.Sprintf("%s is not an image with its digest", text), hint: "give REPOSITORY@sha256:…, as boyabuild push prints it"}
	}
	repository := text[:len(text)-len(d.DigestStr())-1]
	full, err := c.repository(ctx, repository, false)
	if err != nil {
		return name.Digest{}, err
	}
	return name.NewDigest(full+"@"+d.DigestStr(), c.nameOptions()...)
}

// architectures are those that an image in the local store was built for; nil
// where it is not there.
func (s *session) architectures(digest string) []string {
	h, err := v1.NewHash(digest)
	if err != nil {
		return nil
	}
	if idx, err := s.store.Index(h); err == nil {
		m, err := idx.IndexManifest()
		if err == nil && len(m.Manifests) > 0 && m.Manifests[0].Platform != nil {
			var all []string
			for _, d := range m.Manifests {
				if d.Platform != nil {
					all = append(all, d.Platform.Architecture)
				}
			}
			return all
		}
	}
	img, err := s.store.Image(h)
	if err != nil {
		return nil
	}
	config, err := img.ConfigFile()
	if err != nil || config.Architecture == "" {
		return nil
	}
	return []string{config.Architecture}
}

// deployInput gathers what to deploy from flags and configuration.
func (s *session) deployInput(c *cloud, f *deployFlags, image name.Digest) (deploy.Input, error) {
	d := s.config.Deploy
	beside := func(p string) string {
		if filepath.IsAbs(p) {
			return p
		}
		return filepath.Join(filepath.Dir(s.config.path), p)
	}
	given := map[string]string{}
	if err := pairs("--var", f.vars, given, nil); err != nil {
		return deploy.Input{}, err
	}
	configured := maps.Clone(d.Vars)
	if c.local() {
		if configured == nil {
			configured = map[string]string{}
		}
		maps.Copy(configured, s.config.Local.Vars)
	}
	in := deploy.Input{
		Files:   deploy.Files{TaskDefinition: beside(d.TaskDefinition), Service: beside(d.Service)},
		Image:   image,
		Cluster: d.Cluster,
		// So that an image for another machine is refused before anything is touched.
		Architectures: s.architectures(image.DigestStr()),
		Lookup: func(name string) (string, bool) {
			if v, ok := given[name]; ok {
				return v, true
			}
			if v := s.env.getenv(name); v != "" {
				return v, true
			}
			v, ok := configured[name]
			return v, ok
		},
		Options: deploy.Options{Force: f.force, NoWait: f.noWait || !f.wait, Timeout: f.timeout, Log: s.ui.log},
	}
	if d.Container != "" {
		in.Containers = []string{d.Container}
	}
	if c.local() { // one machine answers at once, and nobody counts its requests
		in.PollMin, in.PollMax = 200*time.Millisecond, time.Second
	}
	return in, nil
}

func (c *cloud) deploy(ctx context.Context, in deploy.Input) (deploy.Release, error) {
	cfg, err := c.aws(ctx)
	if err != nil {
		return deploy.Release{}, err
	}
	var plan *deploy.Plan
	if c.local() {
		in.Tail = func(ctx context.Context, t deploy.StoppedTask) ([]string, error) { return c.tail(ctx, plan, t) }
	}
	if plan, err = deploy.Prepare(ctx, ecs.NewFromConfig(cfg), in); err != nil {
		return deploy.Release{}, err
	}
	if in.DryRun {
		return deploy.Release{Plan: plan}, nil
	}
	return plan.Apply(ctx)
}

// tail is the last that a task in the local cloud logged.
func (c *cloud) tail(ctx context.Context, p *deploy.Plan, t deploy.StoppedTask) ([]string, error) {
	var lines []string
	err := c.client.Lines(ctx, local.LogQuery{Cluster: p.Cluster, Service: p.Service, Task: t.ID(), Tail: 10}, func(l local.LogLine) error {
		lines = append(lines, l.Text)
		return nil
	})
	return lines, err
}

// printPlan shows what a deployment would do.
func (s *session) printPlan(p *deploy.Plan, diff bool) error {
	if !diff {
		b, err := json.MarshalIndent(p, "", "  ")
		if err != nil {
			return err
		}
		fmt.Fprintln(s.env.stdout, string(b))
		return nil
	}
	_, err := fmt.Fprint(s.env.stdout, p)
	return err
}
