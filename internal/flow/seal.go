package flow

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"grace"
	"grace/internal/dbtx"
)

// ErrForged: a run's input, or a checkpoint of it, was written or changed by
// somebody who has not the key. Nothing is done by it.
var ErrForged = errors.New("it does not carry the seal of GRACE's key: somebody wrote to the database beside GRACE")

// inputName is the name under which a run's input is sealed; no step has it.
const inputName = ""

// sealed is what the engine keeps: a value, and what shows that it was written
// for this run, in this place, by a process that has the key.
type sealed struct {
	Value json.RawMessage `json:"value"`
	Seal  string          `json:"seal"`
	// fresh is not recorded: what has it was never read from the record.
	fresh *dbtx.Commits
}

func (e *Engine) seal(id grace.RunID, name string, v any) (sealed, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return sealed{}, fmt.Errorf("encode what is to be kept: %w", err)
	}
	return sealed{Value: raw, Seal: e.sealOf(id, name, raw)}, nil
}

func (e *Engine) open(id grace.RunID, name string, s sealed, into any) error {
	if !hmac.Equal([]byte(s.Seal), []byte(e.sealOf(id, name, s.Value))) {
		if e.cfg.Forged != nil {
			e.cfg.Forged("the engine's record of run "+string(id), ErrForged)
		}
		return ErrForged
	}
	if err := json.Unmarshal(s.Value, into); err != nil {
		return fmt.Errorf("decode what was kept: %w", err)
	}
	return nil
}

func (e *Engine) sealOf(id grace.RunID, name string, value []byte) string {
	mac := hmac.New(sha256.New, e.cfg.Key)
	var length [8]byte
	for _, part := range [][]byte{[]byte(id), []byte(name), value} {
		binary.BigEndian.PutUint64(length[:], uint64(len(part)))
		mac.Write(length[:])
		mac.Write(part)
	}
	return hex.EncodeToString(mac.Sum(nil))
}
