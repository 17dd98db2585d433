package loop

import (
	"reflect"
	"testing"
)

// TestRooms: a room knows those below it alone, and none knows the loop.
func TestRooms(t *testing.T) {
	rooms := []reflect.Type{ // from the lowest up
		reflect.TypeFor[common](), reflect.TypeFor[forecaster](), reflect.TypeFor[ingest](), reflect.TypeFor[basis](), reflect.TypeFor[runs](),
		reflect.TypeFor[decider](), reflect.TypeFor[commands](), reflect.TypeFor[views](), reflect.TypeFor[relay](),
	}
	known := map[reflect.Type]bool{reflect.TypeFor[*Loop](): true}
	for _, room := range rooms {
		known[reflect.PointerTo(room)] = true
	}
	for f := range reflect.TypeFor[Loop]().Fields() {
		if !known[f.Type] {
			t.Errorf("the loop has %s, which is no room", f.Type)
		}
	}
	below := map[reflect.Type]bool{}
	for _, room := range rooms {
		for f := range room.Fields() {
			if known[f.Type] && !below[f.Type] {
				t.Errorf("%s knows %s, which is not below it", room.Name(), f.Type)
			}
		}
		below[reflect.PointerTo(room)] = true
	}
}
