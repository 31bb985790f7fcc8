package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/boyabuild/boyabuild/pkg/deploy"
	"github.com/boyabuild/boyabuild/pkg/local"
)

func upCommand(e *env, g *globals) *cobra.Command {
	var b buildFlags
	var p pushFlags
	var d deployFlags
	var detach bool
	cmd := &cobra.Command{
		Use:   "up [CONTEXT] --tag TAG",
		Short: "Build, push and deploy",
		Long: `Build an image, push it under an immutable tag and roll it out on ECS.

With --local all of that happens on this machine: the image is pushed to a local
ECR and the service runs in a local ECS. Its URL is printed on stdout and its
logs are followed until you interrupt, which ends the service; with --detach the
command returns as soon as the service is healthy, and "boyabuild local stop"
ends it.`,
		Example: `  boyabuild up --tag 1.0 .
  boyabuild up --local --tag 1.0 testdata/boyacky`,
		Args: arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := newSession(cmd, e, g, args)
			if err != nil {
				return err
			}
			defer s.close()
			if detach && !p.local.local {
				return usagef("--detach is for --local: on AWS nothing stays behind on this machine")
			}
			return s.up(cmd.Context(), &b, &p, &d, detach)
		},
	}
	b.register(cmd)
	p.register(cmd)
	d.register(cmd)
	cmd.Flags().BoolVarP(&detach, "detach", "d", false, "with --local: return when the service is healthy and leave it running")
	return cmd
}

func (s *session) up(ctx context.Context, b *buildFlags, p *pushFlags, d *deployFlags, detach bool) error {
	if err := s.deployable(); err != nil {
		return err
	}
	if err := s.checkDestination(p); err != nil {
		return err
	}
	mode := running
	if detach {
		mode = background
	}
	c, err := s.cloud(ctx, &p.local, mode)
	if err != nil {
		return err
	}
	defer c.close()
	image, err := s.push(ctx, c, b, p, "")
	if err != nil {
		return err
	}
	in, err := s.deployInput(c, d, image)
	if err != nil {
		return err
	}
	r, err := c.deploy(ctx, in)
	if err != nil {
		return err
	}
	if !c.local() {
		fmt.Fprintln(s.env.stdout, r.TaskDefinitionARN)
		return nil
	}
	url := serviceURL(r)
	if url != "" {
		fmt.Fprintln(s.env.stdout, url)
	}
	if detach {
		s.ui.log.Info(fmt.Sprintf("%s is healthy; end it with: boyabuild local stop", r.Service))
		return nil
	}
	return s.follow(ctx, c, r)
}

// serviceURL is where the local cloud's service answers: its tasks share the
// machine's network.
func serviceURL(r deploy.Release) string {
	for _, port := range r.Ports {
		if port.Protocol == "tcp" || port.Protocol == "" {
			return fmt.Sprintf("http://127.0.0.1:%d/", port.Port)
		}
	}
	return ""
}

// follow shows the service's logs until it is interrupted.
func (s *session) follow(ctx context.Context, c *cloud, r deploy.Release) error {
	s.ui.log.Info(fmt.Sprintf("following the logs of %s; interrupt to end", r.Service))
	err := c.client.Logs(ctx, local.LogQuery{Cluster: r.Cluster, Service: r.Service, Since: s.started, Follow: true}, s.env.stderr)
	if ctx.Err() == nil {
		return err
	}
	if c.own != nil {
		s.ui.log.Info("stopping the service and the local cloud")
	} else {
		s.ui.log.Info("the service goes on in the local cloud; end it with: boyabuild local stop")
	}
	return errors.Join(errInterrupted, context.Cause(ctx))
}
