package api

import (
	"encoding"
	"encoding/json"
	"reflect"
)

// notNull copies a value with every nil list and map in it made empty. It
// never writes to v: what it holds may be shared with the rest of GRACE.
// Fields marked omitempty stay away as before.
func notNull(v reflect.Value) reflect.Value {
	if !v.IsValid() || !mayHoldNull(v.Type(), 0) {
		return v
	}
	switch v.Kind() { //nolint:exhaustive // the other kinds hold no lists
	case reflect.Pointer:
		if v.IsNil() {
			return v
		}
		p := reflect.New(v.Type().Elem())
		p.Elem().Set(notNull(v.Elem()))
		return p
	case reflect.Struct:
		c := reflect.New(v.Type()).Elem()
		c.Set(v)
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				c.Field(i).Set(notNull(v.Field(i)))
			}
		}
		return c
	case reflect.Slice:
		c := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		for i := range v.Len() {
			c.Index(i).Set(notNull(v.Index(i)))
		}
		return c
	case reflect.Map:
		c := reflect.MakeMapWithSize(v.Type(), v.Len())
		for it := v.MapRange(); it.Next(); {
			c.SetMapIndex(it.Key(), notNull(it.Value()))
		}
		return c
	}
	return v
}

// maxDepth ends the look into a recursive type; no answer is nested deeper.
const maxDepth = 12

// mayHoldNull tells whether a type can be or hold a nil list or map that
// encoding/json would write as null.
func mayHoldNull(t reflect.Type, depth int) bool {
	if depth > maxDepth || writesItself(t) {
		return false
	}
	switch t.Kind() { //nolint:exhaustive // the other kinds hold no lists
	case reflect.Slice, reflect.Map:
		return true
	case reflect.Pointer:
		return mayHoldNull(t.Elem(), depth+1)
	case reflect.Struct:
		for f := range t.Fields() {
			if f.IsExported() && mayHoldNull(f.Type, depth+1) {
				return true
			}
		}
	}
	return false
}

func writesItself(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return p.Implements(reflect.TypeFor[json.Marshaler]()) || p.Implements(reflect.TypeFor[encoding.TextMarshaler]())
}
