package remotewrite

import (
	"errors"
	"math"

	"grace/internal/series"
)

// sink is what a decoder hands the series to: series.Batch.
type sink interface {
	Append(key []byte, meta series.Meta, samples ...series.Sample) (known bool)
}

// decoder holds the memory for one request at a time.
type decoder struct {
	out  sink
	body []byte

	key     []byte
	numbers []series.Sample
	natives []reader // histograms of one series, not read yet
	symbols []symbol

	samples    int // handed over
	histograms int
	refused    int   // histograms that could not be read
	problem    error // of the first of them
}

// symbol is a string of version 2, by its bounds in the body.
type symbol struct{ from, to int }

func (d *decoder) reset(out sink, body []byte) {
	d.out, d.body = out, body
	d.symbols = d.symbols[:0]
	d.samples, d.histograms, d.refused, d.problem = 0, 0, 0, nil
}

// v1 reads prometheus.WriteRequest. Series before an error were handed over.
func (d *decoder) v1() error {
	r := reader{body: d.body, end: len(d.body)}
	for r.more() {
		at := r.pos
		number, wire, err := r.field()
		if err == nil {
			var sub reader
			switch {
			case number != 1:
				err = r.skip(number, wire) // metadata of metric families, and what is not known
			case wire != wireBytes:
				err = errType
			default:
				if sub, err = r.bytes(); err == nil {
					err = d.series1(sub)
				}
			}
		}
		if err != nil {
			return located(err, at, "prometheus.WriteRequest")
		}
	}
	return nil
}

// located says where an error is, unless that is said closer already.
func located(err error, at int, what string) error {
	if _, ok := errors.AsType[*place](err); ok {
		return err
	}
	return &place{at: at, what: what, err: err}
}

// series1 reads one prometheus.TimeSeries. Its labels are the key as they are,
// when they stand together as every sender writes them.
func (d *decoder) series1(r reader) error {
	d.numbers, d.natives = d.numbers[:0], d.natives[:0]
	var key []byte
	gathered := false // the labels were apart, and were copied together
	from, to := r.pos, r.pos
	for r.more() {
		at := r.pos
		number, wire, err := r.field()
		if err == nil && number <= 4 && wire != wireBytes {
			err = errType
		}
		if err != nil {
			return located(err, at, "prometheus.TimeSeries")
		}
		if number > 4 {
			if err := r.skip(number, wire); err != nil {
				return located(err, at, "prometheus.TimeSeries")
			}
			continue
		}
		sub, err := r.bytes()
		if err != nil {
			return located(err, at, "prometheus.TimeSeries")
		}
		switch number {
		case 1:
			if at == to && !gathered {
				to = r.pos
				break
			}
			if !gathered {
				gathered = true
				d.key = append(d.key[:0], d.body[from:to]...)
			}
			d.key = append(d.key, d.body[at:r.pos]...)
		case 2:
			p, _, err := sample(sub)
			if err != nil {
				return located(err, at, "prometheus.Sample")
			}
			d.numbers = append(d.numbers, p)
		case 4:
			d.natives = append(d.natives, sub)
		}
	}
	key = d.body[from:to]
	if gathered {
		key = d.key
	}
	return d.hand(key, series.Meta{})
}

// sample reads a sample of either version. The time a counter began came to the
// samples of version 2 late, see Meta.Start.
func sample(r reader) (p series.Sample, start int64, err error) {
	for r.more() {
		number, wire, err := r.field()
		if err != nil {
			return p, 0, err
		}
		switch {
		case number == 1 && wire == wireFixed64:
			bits, err := r.fixed64()
			if err != nil {
				return p, 0, err
			}
			p.Value = math.Float64frombits(bits)
		case (number == 2 || number == 3) && wire == wireVarint:
			v, ok := r.varint()
			if !ok {
				return p, 0, errTruncated
			}
			if number == 2 {
				p.At = int64(v)
			} else {
				start = int64(v)
			}
		case number <= 3:
			return p, 0, errType
		default:
			if err := r.skip(number, wire); err != nil {
				return p, 0, err
			}
		}
	}
	return p, start, nil
}

// hand gives a series that was read to the sink.
func (d *decoder) hand(key []byte, meta series.Meta) error {
	if len(d.numbers) > 0 {
		d.samples += len(d.numbers)
		d.out.Append(key, meta, d.numbers...)
	}
	for _, r := range d.natives {
		d.histograms++
		s, start, err := nativeSample(r)
		switch {
		case errors.Is(err, errUnsupported):
			d.refused++
			if d.problem == nil {
				d.problem = err
			}
		case err != nil:
			return located(err, r.pos, "a native histogram")
		default:
			own := meta
			if start != 0 {
				own.Start = start
			}
			d.out.Append(key, own, s)
		}
	}
	return nil
}
