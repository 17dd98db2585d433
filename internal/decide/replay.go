package decide

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"grace"
	"grace/internal/content"
)

// ErrTampered is wrapped when a record is not what was stored.
var ErrTampered = errors.New("it was changed since it was stored")

// Again computes what a record says anew, under the configuration of then or, where
// rules are given, under those. The answer is what was to be stored.
func (rd *Reader) Again(rec grace.Recorded, rules *Rules) (grace.Snapshot, []byte, error) {
	var s grace.Snapshot
	if err := json.Unmarshal(rec.Snapshot, &s); err != nil {
		return s, nil, fmt.Errorf("snapshot: %w", errors.Join(err, ErrTampered))
	}
	if id := recordID(rec.Kind, rec.Snapshot); id != rec.ID {
		return s, nil, fmt.Errorf("snapshot: its content has the id %s: %w", id, ErrTampered)
	}
	if rules == nil {
		var err error
		if rules, err = rd.Rules(s.Config); err != nil {
			return s, nil, err
		}
	}
	k, err := rd.Known(rules, s)
	if err != nil {
		return s, nil, err
	}
	if rec.Kind == grace.RecordAdmission {
		dec, err := rd.Decision(s.Decision)
		if err != nil {
			return s, nil, err
		}
		return s, content.Blob(rules.Admit(s, k, dec)), nil
	}
	dec, _ := rules.Decide(s, k)
	var then struct {
		Triggers []grace.TriggerID `json:"triggers"`
	}
	_ = json.Unmarshal(rec.Answer, &then) // an answer that is none differs anyway
	dec.Triggers = then.Triggers
	return s, content.Blob(dec), nil
}

// Difference is what another computation of a record gives.
type Difference struct {
	ID      string           `json:"id"`
	Kind    grace.RecordKind `json:"kind" enum:"decision,admission"`
	Service grace.ServiceID  `json:"service"`
	At      time.Time        `json:"at"`
	Field   string           `json:"field,omitempty" doc:"the first that differs"`
	Then    string           `json:"then,omitempty"`
	Now     string           `json:"now,omitempty"`
	Error   string           `json:"error,omitempty" doc:"why it could not be computed"`
}

func (d Difference) String() string {
	where := fmt.Sprintf("%s %s on %s at %s", d.Kind, d.ID, d.Service, d.At.UTC().Format(time.RFC3339Nano))
	if d.Error != "" {
		return where + ": " + d.Error
	}
	return fmt.Sprintf("%s: %s was %s, and is %s now", where, d.Field, d.Then, d.Now)
}

// Replay computes a record again, and gives how the answer differs byte for byte, nil
// when it does not.
func (rd *Reader) Replay(rec grace.Recorded) *Difference {
	d := about(rec)
	_, now, err := rd.Again(rec, nil)
	switch {
	case err != nil:
		d.Error = err.Error()
	case len(rec.Answer) == 0:
		d.Error = "the answer of then is not there any more"
	case bytes.Equal(rec.Answer, now):
		return nil
	default:
		d.Field, d.Then, d.Now = differs(rec.Answer, now)
	}
	return &d
}

func about(rec grace.Recorded) Difference {
	return Difference{ID: rec.ID, Kind: rec.Kind, Service: rec.Service, At: rec.At}
}

// differs names the first field in which two documents differ.
func differs(then, now []byte) (field, was, is string) {
	var a, b any
	if json.Unmarshal(then, &a) != nil {
		return "document", short(then), short(now)
	}
	_ = json.Unmarshal(now, &b) // it was made a moment ago
	if field, was, is = walk("", a, b); field == "" {
		return "text", short(then), short(now)
	}
	return field, was, is
}

func walk(path string, a, b any) (field, was, is string) {
	switch a := a.(type) {
	case map[string]any:
		if b, same := b.(map[string]any); same {
			keys := slices.Collect(maps.Keys(a))
			for k := range b {
				if _, both := a[k]; !both {
					keys = append(keys, k)
				}
			}
			slices.Sort(keys)
			for _, k := range keys {
				if field, was, is = walk(cmp.Or(path, "")+"."+k, a[k], b[k]); field != "" {
					return field, was, is
				}
			}
			return "", "", ""
		}
	case []any:
		if b, same := b.([]any); same && len(a) == len(b) {
			for i := range a {
				if field, was, is = walk(path+"["+strconv.Itoa(i)+"]", a[i], b[i]); field != "" {
					return field, was, is
				}
			}
			return "", "", ""
		}
	}
	then, now := content.Blob(a), content.Blob(b)
	if bytes.Equal(then, now) {
		return "", "", ""
	}
	return path[min(1, len(path)):], short(then), short(now)
}

// short bounds what is shown of a value.
func short(v []byte) string {
	const most = 200
	if len(v) > most {
		return string(v[:most]) + "…"
	}
	return string(v)
}
