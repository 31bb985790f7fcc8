package deploy

import (
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// The image goes into the file's container by digest. A file says where:
// by having no image there, by a placeholder, or by naming the same repository.

// isPlaceholder is that an image stands for the one to be deployed: nothing, a
// variable that is not set, or a name in angle brackets as AWS's own templates
// have ("<IMAGE1_NAME>").
func isPlaceholder(image *node) bool {
	if image == nil || image.kind == null {
		return true
	}
	s := image.text
	return s == "" || strings.HasPrefix(s, "${") && strings.HasSuffix(s, "}") ||
		strings.HasPrefix(s, "<") && strings.HasSuffix(s, ">")
}

// putImage writes the digest into the containers that it belongs to and gives
// their names. With no names given these are, in this order: the only container
// with a placeholder; the only one whose image is of the same repository in
// the same registry, or of the same repository in another; the only container.
func (d *document) putImage(image name.Digest, names []string) ([]string, error) {
	containers := d.root.get("containerDefinitions")
	if containers == nil || len(containers.list) == 0 {
		return nil, d.fail("containerDefinitions", d.root.line, "there is no container to put the image in")
	}
	chosen, err := d.chooseContainers(containers.list, image, names)
	if err != nil {
		return nil, err
	}
	var put []string
	for _, c := range chosen {
		c.set("image", &node{kind: text, text: image.String()})
		put = append(put, containerName(c))
	}
	for _, c := range containers.list {
		if isPlaceholder(c.get("image")) {
			e := d.fail("containerDefinitions", c.at("image"), "container %s has no image", containerName(c))
			e.hint = "the image being deployed goes into " + strings.Join(put, ", ") + "; give this one an image of its own, or name both with --container"
			return nil, e
		}
	}
	return put, nil
}

func (d *document) chooseContainers(all []*node, image name.Digest, names []string) ([]*node, error) {
	if len(names) > 0 {
		return d.containersNamed(all, names)
	}
	for _, rule := range []struct {
		fits func(*node) bool
		what string
	}{
		{isPlaceholder, "have no image"},
		{func(n *node) bool { return repositoryOf(n).Name() == image.Context().Name() }, "are of repository " + image.Context().Name()},
		{func(n *node) bool { return repositoryOf(n).RepositoryStr() == image.RepositoryStr() }, "are of repository " + image.RepositoryStr()},
	} {
		var fit []*node
		for _, c := range all {
			if rule.fits(c.get("image")) {
				fit = append(fit, c)
			}
		}
		if len(fit) == 1 {
			return fit, nil
		}
		if len(fit) > 1 {
			e := d.fail("containerDefinitions", fit[1].line, "containers %s %s: it is not clear which one gets the image", strings.Join(containerNames(fit), ", "), rule.what)
			e.hint = "name it with --container, more than once to put the image in several"
			return nil, e
		}
	}
	if len(all) == 1 {
		return all, nil
	}
	e := d.fail("containerDefinitions", d.root.at("containerDefinitions"), "none of the containers %s has an image of repository %s",
		strings.Join(containerNames(all), ", "), image.Context().Name())
	e.hint = "name the one that gets the image with --container"
	return nil, e
}

func (d *document) containersNamed(all []*node, names []string) ([]*node, error) {
	var chosen []*node
	for _, want := range names {
		found := false
		for _, c := range all {
			if containerName(c) == want {
				chosen, found = append(chosen, c), true
			}
		}
		if !found {
			return nil, d.fail("containerDefinitions", d.root.at("containerDefinitions"), "there is no container %s, but %s", want, strings.Join(containerNames(all), ", "))
		}
	}
	return chosen, nil
}

func containerName(c *node) string {
	if n := c.get("name"); n != nil && n.text != "" {
		return n.text
	}
	return "(without a name)"
}

func containerNames(all []*node) []string {
	var names []string
	for _, c := range all {
		names = append(names, containerName(c))
	}
	return names
}

// repositoryOf is the repository of a container's image; of what is no image
// reference it is the zero Repository, which matches nothing.
func repositoryOf(image *node) name.Repository {
	if image == nil {
		return name.Repository{}
	}
	ref, err := name.ParseReference(image.text)
	if err != nil {
		return name.Repository{}
	}
	return ref.Context()
}
