package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/boyabuild/boyabuild/pkg/local"
)

func localCommand(e *env, g *globals) *cobra.Command {
	f := &localFlags{local: true}
	cmd := &cobra.Command{
		Use:   "local",
		Short: "Run a local ECR and ECS until interrupted",
		Long: `Run a registry that stores images and an ECS that runs tasks on this machine, at
one address on loopback. The same commands and the same SDK calls reach it as
reach AWS: point AWS_ENDPOINT_URL at the printed address, or use --local.

Repositories, task definitions and services are kept in the state directory, and
services are started again with it.`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := bareSession(cmd, e, g)
			if err != nil {
				return err
			}
			defer s.close()
			return s.serveLocal(cmd.Context(), f)
		},
	}
	p := cmd.PersistentFlags()
	p.StringVar(&f.state, "state", "", "`DIR`ectory to keep everything in")
	p.StringVar(&f.address, "address", "", "`HOST:PORT` on loopback to listen at (default 127.0.0.1:5050)")
	cmd.AddCommand(localStopCommand(e, g, f))
	return cmd
}

func (s *session) serveLocal(ctx context.Context, f *localFlags) error {
	if err := f.resolveState(s.env); err != nil {
		return err
	}
	c := &cloud{s: s, flags: f}
	if err := c.canRun(ctx); err != nil {
		return err
	}
	if err := c.start(ctx, s.ui.log); err != nil {
		return err
	}
	defer c.close()
	fmt.Fprintln(s.env.stdout, c.url)
	select {
	case err := <-c.served: // stopped by `boyabuild local stop`
		return err
	case <-ctx.Done():
		s.ui.log.Info("stopping all tasks")
		return errors.Join(errInterrupted, context.Cause(ctx))
	}
}

func localStopCommand(e *env, g *globals, f *localFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "stop",
		Short: "Stop the local cloud that runs, and its tasks",
		Args:  arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := bareSession(cmd, e, g)
			if err != nil {
				return err
			}
			defer s.close()
			if err := f.resolveState(e); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), time.Minute)
			defer cancel()
			client, err := local.Find(ctx, f.state)
			var notRunning *local.NotRunningError
			if errors.As(err, &notRunning) {
				s.ui.log.Info("no local cloud is running")
				return nil
			}
			if err != nil {
				return err
			}
			if err := client.Stop(ctx); err != nil {
				return err
			}
			s.ui.log.Info("the local cloud has stopped")
			return nil
		},
	}
}
