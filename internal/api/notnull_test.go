package api

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"grace"
)

// What is sent may be shared with the loop, so it must be copied, not mended.
func TestNotNullCopies(t *testing.T) {
	in := []*grace.Run{{ID: "r", Playbook: grace.Playbook{Triggers: nil}, CreatedAt: time.Unix(0, 0)}}
	out, isRuns := reflect.TypeAssert[[]*grace.Run](notNull(reflect.ValueOf(in)))
	if !isRuns || len(out) != 1 {
		t.Fatalf("%v", out)
	}
	if out[0].Steps == nil || out[0].Parameters == nil || out[0].Playbook.Triggers == nil {
		t.Errorf("still null: %+v", out[0])
	}
	if in[0].Steps != nil || in[0].Parameters != nil || in[0].Playbook.Triggers != nil {
		t.Error("the original was changed")
	}
	if out[0].ID != "r" || !out[0].CreatedAt.Equal(in[0].CreatedAt) {
		t.Errorf("lost something: %+v", out[0])
	}
	if got := notNull(reflect.ValueOf(json.RawMessage(nil))).Interface(); got.(json.RawMessage) != nil {
		t.Error("raw JSON was touched")
	}
}

func TestSlicePage(t *testing.T) {
	items := []string{"a", "b", "c", "d"}
	self := func(s string) string { return s }
	for _, tt := range []struct {
		p    Paging
		want string
		next string
	}{
		{Paging{Limit: 2}, "ab", "b"},
		{Paging{Limit: 2, Cursor: "b"}, "cd", ""},
		{Paging{}, "abcd", ""},
		{Paging{Limit: 1, Cursor: "bb"}, "c", "c"},
		{Paging{Limit: 1, Cursor: "z"}, "", ""},
	} {
		l := slicePage(items, self, tt.p)
		got := ""
		for _, s := range l.Items {
			got += s
		}
		if got != tt.want || l.Next != tt.next {
			t.Errorf("%+v: %q next %q, want %q next %q", tt.p, got, l.Next, tt.want, tt.next)
		}
	}
}
