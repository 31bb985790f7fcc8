package main

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/boyabuild/boyabuild/pkg/store"
)

func cacheCommand(e *env, g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cache",
		Short: "Show and bound what is kept on this machine",
		Long: `Show and bound what is kept on this machine: images, layers, bases, wheels and
packages. Anything of it may be removed at any time; it is fetched or made again.`,
		Args: cobra.ArbitraryArgs,
		RunE: helpOrUnknown,
	}
	cmd.AddCommand(cacheInfoCommand(e, g), cachePruneCommand(e, g))
	return cmd
}

func cacheInfoCommand(e *env, g *globals) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "info",
		Short: "Show what is kept on this machine",
		Long: `Show what is kept on this machine and what it takes. Images are what named images
refer to; blobs are the other layers, bases, wheels and packages; records say what
was made from what; stale is what interrupted builds left, and the next build
removes it.`,
		Example: `  boyabuild cache info
  boyabuild cache info --format json
  boyabuild cache info --format '{{.total.bytes}}'`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			show, err := formats(format, "{{.total.bytes}}", usageTable)
			if err != nil {
				return err
			}
			s, err := bareSession(cmd, e, g)
			if err != nil {
				return err
			}
			defer s.close()
			u, err := s.store.Usage(cmd.Context())
			if err != nil {
				return err
			}
			return show(e.stdout, u)
		},
	}
	cmd.Flags().StringVar(&format, "format", "table", "`FORMAT` of the listing: table, json or a Go template")
	return cmd
}

func usageTable(w io.Writer, u store.Usage) error {
	fmt.Fprintf(w, "%s\n", u.Dir)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "KIND\tFILES\tSIZE\n")
	for _, row := range []struct {
		kind string
		store.Count
	}{
		{fmt.Sprintf("images (%d names)", u.Names), u.Images}, {"blobs", u.Blobs}, {"records", u.Records},
		{"in progress", u.Unfinished}, {"stale", u.Stale}, {"total", u.Total},
	} {
		fmt.Fprintf(t, "%s\t%d\t%s\n", row.kind, row.Files, byteSize(row.Bytes))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if u.OldestUse.IsZero() {
		return nil
	}
	_, err := fmt.Fprintf(w, "least recently used: %s\n", u.OldestUse.UTC().Format(time.RFC3339))
	return err
}

func cachePruneCommand(e *env, g *globals) *cobra.Command {
	var o store.PruneOptions
	var most string
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Remove what is not used from this machine",
		Long: `Remove what is not used from this machine. Without --max-size and --older-than
that is all that no named image refers to; with them what was used least recently,
until the bounds are met. Named images stay unless --all is given. What a build
that runs has used stays in every case.`,
		Example: `  boyabuild cache prune --max-size 5GB
  boyabuild cache prune --older-than 720h --dry-run
  boyabuild cache prune --all`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if cmd.Flags().Changed("max-size") {
				if o.MaxBytes, err = parseSize(most); err != nil {
					return err
				}
			}
			if cmd.Flags().Changed("older-than") && o.OlderThan <= 0 {
				return usagef("--older-than is %s, not a time such as 720h", o.OlderThan)
			}
			s, err := bareSession(cmd, e, g)
			if err != nil {
				return err
			}
			defer s.close()
			r, err := s.store.Prune(cmd.Context(), o)
			if err != nil {
				return err
			}
			verb, would := "removed", "freed"
			if o.DryRun {
				verb, would = "would remove", "would free"
			}
			for _, name := range r.Names {
				s.ui.log.Info(verb + " image " + name)
			}
			if r.InUse > 0 {
				s.ui.log.Info(fmt.Sprintf("kept %s that other builds use", byteSize(r.InUse)))
			}
			files := r.Blobs.Files + r.Records.Files + r.Stale.Files
			fmt.Fprintf(e.stdout, "%s %s in %d files; %s left\n", would, byteSize(r.Freed), files, byteSize(r.Left))
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&most, "max-size", "", "keep at most `SIZE`, such as 5GB or 500MiB")
	f.DurationVar(&o.OlderThan, "older-than", 0, "remove what was not used for so long, such as 720h")
	f.BoolVar(&o.All, "all", false, "remove named images too")
	f.BoolVar(&o.DryRun, "dry-run", false, "only say what would be removed")
	return cmd
}

// byteSize writes a number of bytes for people.
func byteSize(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	v, unit := float64(n)/1e3, 0
	for v >= 999.95 && unit < len("kMGT")-1 {
		v, unit = v/1e3, unit+1
	}
	return fmt.Sprintf("%.1f %cB", v, "kMGT"[unit])
}

// parseSize reads "500MiB", "1.5 GB", "5g" or a number of bytes.
func parseSize(s string) (int64, error) {
	number := strings.TrimRight(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
	unit := strings.ToLower(s[len(number):])
	scale, known := map[string]float64{
		"": 1, "b": 1, "k": 1e3, "kb": 1e3, "m": 1e6, "mb": 1e6, "g": 1e9, "gb": 1e9, "t": 1e12, "tb": 1e12,
		"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
	}[unit]
	v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if n := v * scale; err == nil && known && n >= 1 && n < math.MaxInt64 {
		return int64(n), nil
	}
	return 0, usagef("--max-size is %q, not a size such as 5GB or 500MiB", s)
}
