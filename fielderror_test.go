package grace

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFieldErrors(t *testing.T) {
	plain, name, url := errors.New("no"), Field("name", "is missing"), Field("url", "%w: %q", fs.ErrInvalid, "x")
	both := errors.Join(name, nil, url)
	for _, tt := range []struct {
		what string
		err  error
		text string
		want [][2]string // path and text
	}{
		{"nothing", nil, "", nil},
		{"plain", plain, "no", [][2]string{{"", "no"}}},
		{"plain, with two causes", fmt.Errorf("%w: %w", plain, fs.ErrExist), "no: file already exists", [][2]string{{"", "no: file already exists"}}},
		{"one", url, `url: invalid argument: "x"`, [][2]string{{"url", `invalid argument: "x"`}}},
		{"joined", both, "name: is missing\nurl: invalid argument: \"x\"", [][2]string{{"name", "is missing"}, {"url", `invalid argument: "x"`}}},
		{"joined with a plain one", errors.Join(plain, name), "no\nname: is missing", [][2]string{{"", "no"}, {"name", "is missing"}}},
		{"wrapped", fmt.Errorf("read: %w", both), "read: " + both.Error(), [][2]string{{"name", "is missing"}, {"url", `invalid argument: "x"`}}},
		{"under nothing wrong", Under("a", nil), "", nil},
		{"under, plain", Under("a", plain), "a: no", [][2]string{{"a", "no"}}},
		{"under, joined", Under("a[2]", both), "a[2].name: is missing\na[2].url: invalid argument: \"x\"", [][2]string{{"a[2].name", "is missing"}, {"a[2].url", `invalid argument: "x"`}}},
		{"under, twice", Under("a", Under("[1]", name)), "a[1].name: is missing", [][2]string{{"a[1].name", "is missing"}}},
		{"within a field", &FieldError{"a", fmt.Errorf("read: %w", both)}, "a: read: " + both.Error(), [][2]string{{"a.name", "is missing"}, {"a.url", `invalid argument: "x"`}}},
	} {
		t.Run(tt.what, func(t *testing.T) {
			var got [][2]string
			for _, f := range FieldErrors(tt.err) {
				got = append(got, [2]string{f.Path, f.Err.Error()})
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if tt.err != nil && tt.err.Error() != tt.text || tt.err == nil && tt.text != "" {
				t.Errorf("text %v, want %s", tt.err, tt.text)
			}
		})
	}
	if f, ok := errors.AsType[*FieldError](Under("a", both)); !ok || f.Path != "a.name" || !errors.Is(Under("a", both), fs.ErrInvalid) {
		t.Errorf("found %v", f)
	}
}
