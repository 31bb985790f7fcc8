package deploy

import (
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Change is one difference between what is in ECS and what the files want.
type Change struct {
	Path string `json:"path"`           // "containers.web.environment.PORT"
	Have string `json:"have,omitempty"` // as JSON; "" = nothing
	Want string `json:"want,omitempty"`
}

func (c Change) String() string {
	switch {
	case c.Have == "":
		return c.Path + ": set to " + c.Want
	case c.Want == "":
		return c.Path + ": removed, was " + c.Have
	}
	return c.Path + ": " + c.Have + " becomes " + c.Want
}

// normalTask is a task definition in a form that compares equal exactly when
// ECS would run the same: what ECS fills in is filled in, what it leaves out of
// its answers when empty is left out, and what has no order has none. Source:
// "Amazon ECS task definition parameters" in the Developer Guide, and what
// DescribeTaskDefinition answers.
func normalTask(doc map[string]any) map[string]any {
	t := pruneObject(doc)
	setDefault(t, "networkMode", "bridge")
	if s, ok := t["cpu"].(string); ok {
		if n, ok := cpuUnits(s); ok {
			t["cpu"] = strconv.Itoa(n)
		}
	}
	if s, ok := t["memory"].(string); ok {
		if n, ok := memoryMiB(s); ok {
			t["memory"] = strconv.Itoa(n)
		}
	}
	sortTexts(t, "requiresCompatibilities")
	byKey(t, "tags", "key", "value")
	for key := range asObject(t["tags"]) {
		if strings.HasPrefix(strings.ToLower(key), "aws:") { // set by AWS itself
			delete(asObject(t["tags"]), key)
		}
	}
	if rp := asObject(t["runtimePlatform"]); rp != nil {
		dropDefault(rp, "cpuArchitecture", "X86_64")
		dropDefault(rp, "operatingSystemFamily", "LINUX")
	}
	for _, v := range objects(t["volumes"]) {
		if efs := asObject(v["efsVolumeConfiguration"]); efs != nil {
			dropDefault(efs, "rootDirectory", "/")
			dropDefault(efs, "transitEncryption", "DISABLED")
		}
	}
	containers := map[string]any{}
	for _, c := range objects(t["containerDefinitions"]) {
		name, _ := c["name"].(string)
		delete(c, "name")
		normalContainer(c, t["networkMode"] != "bridge")
		containers[name] = c
	}
	delete(t, "containerDefinitions")
	t["containers"] = containers
	return pruneObject(t)
}

// normalContainer normalises one container. samePorts is that the network mode
// makes the host's port the container's.
func normalContainer(c map[string]any, samePorts bool) {
	if _, ok := c["essential"]; !ok {
		c["essential"] = true // false was kept by prune
	}
	dropDefault(c, "cpu", json.Number("0"))
	dropDefault(c, "versionConsistency", "enabled")
	byKey(c, "environment", "name", "value")
	byKey(c, "secrets", "name", "valueFrom")
	byKey(c, "systemControls", "namespace", "value")
	for _, pm := range objects(c["portMappings"]) {
		dropDefault(pm, "protocol", "tcp")
		if samePorts {
			dropDefault(pm, "hostPort", pm["containerPort"])
		}
		dropDefault(pm, "hostPort", json.Number("0"))
	}
	if h := asObject(c["healthCheck"]); h != nil {
		dropDefault(h, "interval", json.Number("30"))
		dropDefault(h, "timeout", json.Number("5"))
		dropDefault(h, "retries", json.Number("3"))
		dropDefault(h, "startPeriod", json.Number("0"))
	}
	if l := asObject(c["logConfiguration"]); l != nil {
		byKey(l, "secretOptions", "name", "valueFrom")
	}
}

// prune copies a document without nulls, empty objects, empty lists and false;
// `essential`, which is true when absent, keeps its false.
func prune(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := map[string]any{}
		for k, item := range v {
			if k == "essential" && item == false {
				m[k] = false
			} else if item = prune(item); item != nil {
				m[k] = item
			}
		}
		if len(m) == 0 {
			return nil
		}
		return m
	case []any:
		var l []any
		for _, item := range v {
			l = append(l, prune(item))
		}
		if len(l) == 0 {
			return nil
		}
		return l
	case bool:
		if !v {
			return nil
		}
	}
	return v
}

func pruneObject(doc map[string]any) map[string]any {
	m, ok := prune(doc).(map[string]any)
	if !ok {
		m = map[string]any{}
	}
	return m
}

func asObject(v any) map[string]any {
	m, _ := v.(map[string]any)
	return m
}

func objects(v any) []map[string]any {
	var all []map[string]any
	l, _ := v.([]any)
	for _, item := range l {
		if m := asObject(item); m != nil {
			all = append(all, m)
		}
	}
	return all
}

func setDefault(m map[string]any, key string, value any) {
	if _, ok := m[key]; !ok {
		m[key] = value
	}
}

func dropDefault(m map[string]any, key string, value any) {
	if v, ok := m[key]; ok && v == value {
		delete(m, key)
	}
}

func sortTexts(m map[string]any, key string) {
	if l, ok := m[key].([]any); ok {
		slices.SortFunc(l, func(a, b any) int { return cmp.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	}
}

// byKey turns a list of pairs, whose order means nothing, into an object.
func byKey(m map[string]any, field, key, value string) {
	pairs := objects(m[field])
	if pairs == nil {
		return
	}
	o := map[string]any{}
	for _, p := range pairs {
		k, _ := p[key].(string)
		v, ok := p[value]
		if !ok {
			v = ""
		}
		o[k] = v
	}
	m[field] = o
}

// diff lists what differs between two documents in normal form, by path.
func diff(have, want any, path string) []Change {
	h, hok := have.(map[string]any)
	w, wok := want.(map[string]any)
	if (hok || have == nil) && (wok || want == nil) {
		keys := map[string]bool{}
		for k := range h {
			keys[k] = true
		}
		for k := range w {
			keys[k] = true
		}
		var all []Change
		for _, k := range sortedKeys(keys) {
			all = append(all, diff(h[k], w[k], join(path, k))...)
		}
		return all
	}
	hl, hok := have.([]any)
	wl, wok := want.([]any)
	if hok && wok && len(hl) == len(wl) {
		var all []Change
		for i := range hl {
			all = append(all, diff(hl[i], wl[i], fmt.Sprintf("%s[%d]", path, i))...)
		}
		return all
	}
	if a, b := jsonText(have), jsonText(want); a != b {
		if isRole(path) && sameRole(have, want) {
			return nil
		}
		return []Change{{Path: path, Have: masked(path, a), Want: masked(path, b)}}
	}
	return nil
}

// isRole is that the value may be written as a role's name or as its ARN.
func isRole(path string) bool { return path == "taskRoleArn" || path == "executionRoleArn" }

func sameRole(have, want any) bool {
	h, _ := have.(string)
	w, _ := want.(string)
	return w != "" && !strings.HasPrefix(w, "arn:") && strings.HasSuffix(h, "/"+w)
}

func sortedKeys(m map[string]bool) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// jsonText is a value as JSON with sorted keys, "" for none.
func jsonText(v any) string {
	if v == nil {
		return ""
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}

// secretName matches the names of variables whose values are not to be shown.
var secretName = regexp.MustCompile(`(?i)(secret|passw|token|credential|private|api_?key|access_?key|dsn|_url$)`)

// masked hides the value of an environment variable that by its name may be a
// secret: plans and differences end up in the logs of CI systems.
func masked(path, value string) string {
	_, name, ok := strings.Cut(path, ".environment.")
	if ok && value != "" && secretName.MatchString(name) {
		return `"…"`
	}
	return value
}
