package build_test

import (
	"strings"
	"testing"

	"github.com/boyabuild/boyabuild/pkg/python/index/indextest"
)

func TestVerify(t *testing.T) {
	const text = "FROM python:3.13\nCOPY . /app\nRUN pip install dep==1.0 && pip install dep==2.0 && pip install web\nENV MODE=prod\n"
	for _, tt := range []struct {
		name   string
		change func(w *world)
		want   []string // parts of what it says; none: nothing differs
	}{
		{"the same", func(*world) {}, nil},
		{"a newer version came out", func(w *world) {
			w.index.AddSpec(indextest.Spec{Name: "dep", Version: "2.1", Files: map[string]string{"dep.py": "v=2\n"}})
		}, nil},
		{"a file differs", func(w *world) { w.write(map[string]string{"app.py": "print(3)\n"}) }, []string{"layer 3 (COPY . /app", `app/app.py`, "content"}},
		{"a file more", func(w *world) { w.write(map[string]string{"b.py": ""}) }, []string{"layer 3", "app/b.py"}},
		{"the configuration differs", func(w *world) { w.write(map[string]string{"Dockerfile": strings.Replace(text, "prod", "test", 1)}) },
			[]string{"config.config.Env[2]", "MODE=prod", "MODE=test"}},
		{"a step more", func(w *world) { w.write(map[string]string{"Dockerfile": text + "WORKDIR /x\n"}) }, []string{"layers", "built now"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t).shop()
			w.write(map[string]string{".dockerignore": "Dockerfile\n", "app.py": "print(1)\n"})
			r := w.build(text)
			tt.change(w)
			b := *w.builder
			b.Store = newStore(t)
			p, err := b.Plan(t.Context(), w.options)
			if err != nil {
				t.Fatal(err)
			}
			got, err := b.Verify(t.Context(), p, r.Images[0])
			if err != nil {
				t.Fatalf("%v\n%s", err, &w.log)
			}
			switch {
			case got == nil && tt.want != nil:
				t.Error("no difference was found")
			case got != nil && tt.want == nil:
				t.Errorf("found %s", got)
			}
			for _, part := range tt.want {
				if got != nil && !strings.Contains(got.String(), part) {
					t.Errorf("%q does not say %q", got, part)
				}
			}
		})
	}
}
