package decide

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"grace"
	"grace/internal/content"
	"grace/internal/stage/admit"
)

// Name names in a snapshot what is known, and notes what has to be stored with it.
func (r *Rules) Name(s *grace.Snapshot, k *Known) {
	s.Config, s.Signals, s.Predictions, s.Open = r.digest, k.SignalMap.Digest(), k.PredictionMap.Digest(), k.OpenMap.Digest()
	k.Parts = content.Parts{Maps: []content.Map{k.SignalMap, k.PredictionMap, k.OpenMap}, Blobs: []content.Named{{Digest: r.digest, Blob: r.blob}}}
	if len(k.Silences) > 0 {
		s.Silences = k.Parts.Add(content.Blob(k.Silences))
	}
	if len(k.Unseen) > 0 {
		s.Unseen = k.Parts.Add(content.Blob(k.Unseen))
	}
	if len(k.Own) > 0 {
		s.Own = k.Parts.Add(content.Blob(k.Own))
	}
}

// RecordDecision makes the record of a decision.
func RecordDecision(s grace.Snapshot, dec grace.Decision) grace.Recorded {
	return grace.Recorded{ID: string(dec.ID), Kind: grace.RecordDecision, Service: s.Service, At: s.At, Snapshot: content.Blob(s)}
}

// RecordAdmission makes the record of an admission.
func RecordAdmission(s grace.Snapshot, a admit.Answer) grace.Recorded {
	doc := content.Blob(s)
	return grace.Recorded{
		ID: recordID(grace.RecordAdmission, doc), Kind: grace.RecordAdmission, Service: s.Service, At: s.At, Snapshot: doc, Answer: content.Blob(a),
	}
}

// recordID is made of the snapshot's document: none of its bytes can be changed unseen.
func recordID(kind grace.RecordKind, doc []byte) string {
	prefix := "dec-"
	if kind == grace.RecordAdmission {
		prefix = "adm-"
	}
	return prefix + content.ID(content.Sum(doc))
}

// MapOf makes a map of a list, sharing with an earlier one what they have in common.
func MapOf[V any](before content.Map, list []V, key func(V) string) content.Map {
	items := make(map[string][]byte, len(list))
	for _, v := range list {
		items[key(v)] = content.Blob(v)
	}
	return before.Replace(items)
}

// Reader reads recorded snapshots again. It keeps the configurations it has met.
type Reader struct {
	Get      func(grace.Digest) ([]byte, error)
	Decision func(grace.DecisionID) (grace.Decision, error)
	rules    map[grace.Digest]*Rules
	scene    *Scene // as it was looked at last
	seen     seen
}

// seen is what a scene was made of.
type seen struct {
	rules                *Rules
	signals, predictions grace.Digest
	at                   int64
	glance               bool
}

// Rules gives the configuration under which a snapshot was taken.
func (rd *Reader) Rules(d grace.Digest) (*Rules, error) {
	if r := rd.rules[d]; r != nil {
		return r, nil
	}
	var cfg Config
	if err := rd.read(d, &cfg); err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	r, err := NewRules(cfg)
	if err != nil {
		return nil, fmt.Errorf("configuration %s: %w", d, err)
	}
	if rd.rules == nil {
		rd.rules = map[grace.Digest]*Rules{}
	}
	rd.rules[d] = r
	return r, nil
}

// Known gives what was known when a snapshot was taken, and what follows from it under
// rules, which may be others than those of then.
func (rd *Reader) Known(r *Rules, s grace.Snapshot) (k Known, err error) {
	sc, err := rd.look(r, s)
	if err != nil {
		return k, err
	}
	k.Scene = new(*sc)
	for _, part := range []struct {
		what string
		err  error
	}{
		{"open runs", readMap(rd, s.Open, func(o grace.OpenRun) { k.Open = append(k.Open, o) })},
		{"silences", rd.read(s.Silences, &k.Silences)},
		{"services of a storm", rd.read(s.Unseen, &k.Unseen)},
		{"signals of " + string(s.Service), rd.read(s.Own, &k.Own)},
	} {
		if part.err != nil {
			return k, fmt.Errorf("%s: %w", part.what, part.err)
		}
	}
	slices.SortFunc(k.Open, func(a, b grace.OpenRun) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), strings.Compare(string(a.Run), string(b.Run)))
	})
	return k, nil
}

// look makes the scene of a snapshot; those of a storm follow one another, and share it.
func (rd *Reader) look(r *Rules, s grace.Snapshot) (*Scene, error) {
	of := seen{r, s.Signals, s.Predictions, s.Seen.UnixNano(), s.Run != nil}
	if rd.scene != nil && rd.seen == of {
		return rd.scene, nil
	}
	var signals []grace.Signal
	var predictions []grace.Prediction
	if err := readMap(rd, s.Signals, func(list []grace.Signal) { signals = append(signals, list...) }); err != nil {
		return nil, fmt.Errorf("signals: %w", err)
	}
	if err := readMap(rd, s.Predictions, func(p grace.Prediction) { predictions = append(predictions, p) }); err != nil {
		return nil, fmt.Errorf("predictions: %w", err)
	}
	slices.SortFunc(signals, func(a, b grace.Signal) int { return strings.Compare(string(a.Key), string(b.Key)) })
	slices.SortFunc(predictions, func(a, b grace.Prediction) int { return strings.Compare(string(a.Key), string(b.Key)) })
	if of.glance {
		rd.scene = Glance(s.Seen, signals, predictions)
	} else {
		rd.scene = r.Look(s.Seen, signals, predictions)
	}
	rd.seen = of
	return rd.scene, nil
}

func (rd *Reader) read(d grace.Digest, to any) error {
	if d == "" {
		return nil
	}
	blob, err := content.Read(d, rd.Get)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(blob, to); err != nil {
		return fmt.Errorf("blob %s: %w", d, err)
	}
	return nil
}

func readMap[V any](rd *Reader, root grace.Digest, take func(V)) error {
	m, err := content.ReadMap(root, rd.Get)
	if err != nil {
		return err
	}
	m.Each(func(key string, body []byte) {
		var v V
		if e := json.Unmarshal(body, &v); e != nil && err == nil {
			err = fmt.Errorf("%q: %w", key, e)
		}
		take(v)
	})
	return err
}
