package store

import (
	"bytes"
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// packed begins every Zstandard frame (RFC 8878); no JSON begins so.
const packed = "\x28\xb5\x2f\xfd"

// maxDocument bounds what a packed document may become, in bytes.
const maxDocument = 32 << 20

// packers compress documents that are many and alike: decisions, and what they rest on.
var packers = sync.OnceValues(func() (*zstd.Encoder, *zstd.Decoder) { //nolint:gochecknoglobals // without state of their own
	w, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBetterCompression), zstd.WithEncoderConcurrency(1),
		zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false))
	if err != nil {
		panic(err) // the options are wrong
	}
	r, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxDocument))
	if err != nil {
		panic(err)
	}
	return w, r
})

func pack(doc []byte) []byte {
	w, _ := packers()
	return w.EncodeAll(doc, make([]byte, 0, len(doc)/4+64))
}

// unpack gives a document as it was before [pack]; one that is not packed as it is.
func unpack(doc []byte) ([]byte, error) {
	if !bytes.HasPrefix(doc, []byte(packed)) {
		return doc, nil
	}
	_, r := packers()
	out, err := r.DecodeAll(doc, nil)
	if err != nil {
		return nil, fmt.Errorf("decompress: %w", err)
	}
	return out, nil
}
