package main

import (
	"strings"

	"github.com/boyabuild/boyabuild/pkg/build"
)

// parseOutputs reads -o flags as docker buildx build has them: comma-separated
// NAME=VALUE, or a lone path, which is a local directory.
func parseOutputs(flags []string) ([]build.Output, error) {
	var out []build.Output
	for _, text := range flags {
		var o build.Output
		for _, field := range strings.Split(text, ",") {
			k, v, ok := strings.Cut(field, "=")
			switch {
			case !ok && len(flags) == 1 && !strings.Contains(text, ","):
				o.Type, o.Dest = "local", field
			case k == "type":
				o.Type = v
			case k == "dest":
				o.Dest = v
			case k == "tar" && (v == "false" || v == "true"):
				o.Directory = v == "false"
			default:
				return nil, usagef("-o %s: %q is none of type=…, dest=…, tar=false", text, field)
			}
		}
		switch {
		case o.Type != "oci" && o.Type != "docker" && o.Type != "tar" && o.Type != "local":
			return nil, usagef("-o %s: type %q is none of oci, docker, tar, local", text, o.Type)
		case o.Dest == "" || o.Dest == "-":
			return nil, usagef("-o %s: dest= must name a file or directory; stdout is for the image's name", text)
		case o.Directory && o.Type != "oci":
			return nil, usagef("-o %s: tar=false is for type=oci", text)
		}
		out = append(out, o)
	}
	return out, nil
}
