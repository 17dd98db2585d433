package forecast

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
)

// A file of an LSTM is, little endian: the mark, the version, the sizes of the
// net (input, hidden, ahead), the weights as float32 and the IEEE CRC-32 of all
// before it. Everything has a fixed place, so that there is one form of a net.
const (
	lstmMark    = "GRACELSTM"
	lstmVersion = 1
	lstmHead    = len(lstmMark) + 1 + 3*2
	lstmFile    = lstmHead + 4*lstmWeights + 4
	// lstmLargest: no weight that was trained comes near it, and one beyond it
	// could make a forecast that is no number.
	lstmLargest = 1e3
)

// ErrNotLSTM says that bytes are not the file of an LSTM that this version
// reads. Train it again.
var ErrNotLSTM = errors.New("not a forecast model of this version: train it again")

// MarshalBinary gives the file of a trained net.
func (m *LSTM) MarshalBinary() ([]byte, error) {
	if len(m.weights) != lstmWeights {
		return nil, errors.New("write a forecast model: it is not trained")
	}
	out := append(make([]byte, 0, lstmFile), lstmMark...)
	out = append(out, lstmVersion)
	for _, size := range []uint16{lstmIn, lstmHidden, lstmAhead} {
		out = binary.LittleEndian.AppendUint16(out, size)
	}
	for _, v := range m.weights {
		out = binary.LittleEndian.AppendUint32(out, math.Float32bits(float32(v)))
	}
	return binary.LittleEndian.AppendUint32(out, crc32.ChecksumIEEE(out)), nil
}

// UnmarshalBinary takes a net from its file. The error wraps ErrNotLSTM and says
// what is wrong; the net is then as before.
func (m *LSTM) UnmarshalBinary(data []byte) error {
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("read a forecast model: %s: %w", fmt.Sprintf(format, args...), ErrNotLSTM)
	}
	if len(data) < lstmHead || string(data[:len(lstmMark)]) != lstmMark {
		return wrong("it does not begin with %s", lstmMark)
	}
	if v := data[len(lstmMark)]; v != lstmVersion {
		return wrong("version %d, want %d", v, lstmVersion)
	}
	for i, want := range []uint16{lstmIn, lstmHidden, lstmAhead} {
		if got := binary.LittleEndian.Uint16(data[len(lstmMark)+1+2*i:]); got != want {
			return wrong("size %d of the net is %d, want %d", i+1, got, want)
		}
	}
	if len(data) != lstmFile {
		return wrong("%d bytes, want %d", len(data), lstmFile)
	}
	body, sum := data[:lstmFile-4], binary.LittleEndian.Uint32(data[lstmFile-4:])
	if crc32.ChecksumIEEE(body) != sum {
		return wrong("its checksum is another one")
	}
	weights := make([]float64, lstmWeights)
	for i := range weights {
		v := float64(math.Float32frombits(binary.LittleEndian.Uint32(body[lstmHead+4*i:])))
		if !(math.Abs(v) <= lstmLargest) { // also for NaN
			return wrong("weight %d is %v", i, v)
		}
		weights[i] = v
	}
	m.weights = weights
	return nil
}
