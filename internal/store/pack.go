package store

import (
	"bytes"
	"fmt"

	"github.com/klauspost/compress/zstd"
)

// packed begins every Zstandard frame (RFC 8878); no JSON begins so.
const packed = "\x28\xb5\x2f\xfd"

// maxDocument bounds what a packed document may become, in bytes.
const maxDocument = 32 << 20

// packer compresses documents that are many and alike: decisions, and what they rest
// on.
type packer struct {
	w *zstd.Encoder
	r *zstd.Decoder
}

func newPacker() (p packer, err error) {
	if p.w, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBetterCompression), zstd.WithEncoderConcurrency(1),
		zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false)); err != nil {
		return p, err
	}
	p.r, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxDocument))
	return p, err
}

func (p packer) pack(doc []byte) []byte { return p.w.EncodeAll(doc, make([]byte, 0, len(doc)/4+64)) }

// unpack gives a document as it was before pack; one that is not packed as it is.
func (p packer) unpack(doc []byte) ([]byte, error) {
	if !bytes.HasPrefix(doc, []byte(packed)) {
		return doc, nil
	}
	out, err := p.r.DecodeAll(doc, nil)
	if err != nil {
		return nil, fmt.Errorf("decompress: %w", err)
	}
	return out, nil
}
