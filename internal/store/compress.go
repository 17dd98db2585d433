package store

import (
	"bytes"
	_ "embed"
	"fmt"

	"github.com/klauspost/compress/zstd"
)

// zstdMagic begins every Zstandard frame (RFC 8878); no JSON begins so.
const zstdMagic = "\x28\xb5\x2f\xfd"

// maxDocument bounds what a compressed document may become, in bytes.
const maxDocument = 32 << 20

// leastCompressed is the size of the shortest document that is compressed.
const leastCompressed = 64

// dictionary holds what documents have in common, the most frequent last: most are too
// short to have much in common with themselves. A document names the dictionary that it
// was compressed with, and cannot be read without: one that has been in use is never
// changed. A better one gets the next number, and the decoder both.
//
//go:embed dictionary.jsonl
var dictionary []byte

const dictionaryID = 1

// compressor compresses documents that are many and alike: decisions, and what they rest
// on.
type compressor struct {
	w *zstd.Encoder
	r *zstd.Decoder
}

func newCompressor() (c compressor, err error) {
	if c.w, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false), zstd.WithEncoderDictRaw(dictionaryID, dictionary)); err != nil {
		return c, err
	}
	c.r, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxDocument),
		zstd.WithDecoderDictRaw(dictionaryID, dictionary))
	return c, err
}

// compress makes JSON smaller where it can; the nodes of maps are digests, which nothing
// does.
func (c compressor) compress(doc []byte) []byte {
	if len(doc) >= leastCompressed && (doc[0] == '{' || doc[0] == '[') {
		if out := c.w.EncodeAll(doc, make([]byte, 0, len(doc)/4+64)); len(out) < len(doc) {
			return out
		}
	}
	return append([]byte{}, doc...) // no document is NULL
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
