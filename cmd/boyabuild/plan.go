package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/boyabuild/boyabuild/pkg/build"
)

func planCommand(e *env, g *globals) *cobra.Command {
	var f buildFlags
	var format string
	cmd := &cobra.Command{
		Use:   "plan [CONTEXT]",
		Short: "Say what would be built, from what, and what is on record",
		Long: `Say what a build would do: the steps that make layers, the packages that each
install comes to, what of it is on this machine and which layers are on record.
The base and the dependencies are resolved as a build does it; no wheel is fetched
and no layer is made.`,
		Example: `  boyabuild plan
  boyabuild plan --platform linux/arm64 --format json .
  boyabuild plan --format '{{range .platforms}}{{.platform}}{{"\n"}}{{end}}'`,
		Args: arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			show, err := formats(format, "{{range .platforms}}…", planTable)
			if err != nil {
				return err
			}
			s, err := newSession(cmd, e, g, args)
			if err != nil {
				return err
			}
			defer s.close()
			o, err := s.buildOptions(&f)
			if err != nil {
				return err
			}
			b, err := s.builder(&f.index)
			if err != nil {
				return err
			}
			plan, err := b.Plan(cmd.Context(), *o)
			if err != nil {
				return err
			}
			s.tellPlan(plan)
			p, err := b.Preview(cmd.Context(), plan)
			if err != nil {
				return err
			}
			return show(e.stdout, p)
		},
	}
	f.register(cmd)
	cmd.Flags().StringVar(&format, "format", "table", "`FORMAT` of the plan: table, json or a Go template")
	return cmd
}

func planTable(w io.Writer, p *build.Preview) error {
	var b strings.Builder
	for _, platform := range p.Platforms {
		fmt.Fprintf(&b, "%s\n", platform.Platform)
		for _, st := range platform.Stages {
			fmt.Fprintf(&b, "  FROM %s", st.Base)
			if st.Source != "" && st.Source != st.Base {
				fmt.Fprintf(&b, " (%s)", st.Source)
			}
			if st.Digest != "" {
				fmt.Fprintf(&b, " %s", st.Digest)
			}
			b.WriteByte('\n')
			for _, step := range st.Steps {
				fmt.Fprintf(&b, "  %s\n      %s\n", strings.ReplaceAll(step.Text, "\n", " "), step.Totals())
				for _, pkg := range step.Packages {
					state := "to fetch"
					if pkg.Here {
						state = "here"
					}
					if pkg.Build {
						state += ", to be built"
					}
					fmt.Fprintf(&b, "      %s %s  %s  %s\n", pkg.Name, pkg.Version, pkg.File, state)
				}
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
