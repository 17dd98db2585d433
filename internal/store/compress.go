package store

import (
	"bytes"
	"fmt"

	"github.com/klauspost/compress/zstd"
)

// zstdMagic begins every Zstandard frame (RFC 8878); no JSON begins so.
const zstdMagic = "\x28\xb5\x2f\xfd"

// maxDocument bounds what a compressed document may become, in bytes.
const maxDocument = 32 << 20

// leastCompressed is the size of the shortest document that is compressed: shorter ones
// hardly get smaller, and most blobs are short.
const leastCompressed = 256

// compressor compresses documents that are many and alike: decisions, and what they rest
// on.
type compressor struct {
	w *zstd.Encoder
	r *zstd.Decoder
}

func newCompressor() (c compressor, err error) {
	if c.w, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false)); err != nil {
		return c, err
	}
	c.r, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxDocument))
	return c, err
}

func (c compressor) compress(doc []byte) []byte {
	if len(doc) < leastCompressed {
		return append([]byte{}, doc...) // no document is NULL
	}
	return c.w.EncodeAll(doc, make([]byte, 0, len(doc)/4+64))
}

// decompress gives a document as it was before compress; one that is not compressed as
// it is.
func (c compressor) decompress(doc []byte) ([]byte, error) {
	if !bytes.HasPrefix(doc, []byte(zstdMagic)) {
		return doc, nil
	}
	out, err := c.r.DecodeAll(doc, nil)
	if err != nil {
		return nil, fmt.Errorf("decompress: %w", err)
	}
	return out, nil
}
