package remotewrite

import (
	"errors"
	"fmt"

	"grace/internal/series"
)

var (
	errSymbol = errors.New("a reference to a symbol that is not there")
	errOdd    = errors.New("label references are not in pairs")
)

// The types of metric in metadata of version 2.
const (
	typeCounter        = 1
	typeGauge          = 2
	typeGaugeHistogram = 4
)

// v2 reads io.prometheus.write.v2.Request. Series before an error were handed
// over. Symbols are gathered first: they may stand behind the series.
func (d *decoder) v2() error {
	const what = "io.prometheus.write.v2.Request"
	for _, wanted := range [...]uint64{4, 5} {
		r := reader{body: d.body, end: len(d.body)}
		for r.more() {
			at := r.pos
			number, wire, err := r.field()
			switch {
			case err != nil:
			case number != wanted:
				err = r.skip(number, wire)
			case wire != wireBytes:
				err = errType
			default:
				var sub reader
				if sub, err = r.bytes(); err != nil {
					break
				}
				if wanted == 4 {
					d.symbols = append(d.symbols, symbol{sub.pos, sub.end})
				} else {
					err = d.series2(sub)
				}
			}
			if err != nil {
				return located(err, at, what)
			}
		}
	}
	return nil
}

func (d *decoder) symbol(ref uint64) ([]byte, error) {
	if ref >= uint64(len(d.symbols)) {
		return nil, fmt.Errorf("%w: %d of %d", errSymbol, ref, len(d.symbols))
	}
	s := d.symbols[ref]
	return d.body[s.from:s.to], nil
}

// series2 reads one io.prometheus.write.v2.TimeSeries.
func (d *decoder) series2(r reader) error {
	d.numbers, d.natives, d.key = d.numbers[:0], d.natives[:0], d.key[:0]
	var meta series.Meta
	var refs [2]uint64
	odd := 0
	label := func(ref uint64) error {
		refs[odd] = ref
		odd ^= 1
		if odd == 1 {
			return nil
		}
		name, err := d.symbol(refs[0])
		if err != nil {
			return err
		}
		value, err := d.symbol(refs[1])
		if err != nil {
			return err
		}
		d.key = series.AppendLabel(d.key, name, value)
		return nil
	}
	for r.more() {
		at := r.pos
		number, wire, err := r.field()
		switch {
		case err != nil:
		case number == 1 && wire == wireVarint:
			ref, ok := r.varint()
			if err = label(ref); !ok {
				err = errTruncated
			}
		case number == 6 && wire == wireVarint:
			v, ok := r.varint()
			if meta.Start = int64(v); !ok {
				err = errTruncated
			}
		case number >= 1 && number <= 5 && wire == wireBytes:
			var sub reader
			if sub, err = r.bytes(); err == nil {
				err = d.part2(number, sub, &meta, label)
			}
		case number <= 6:
			err = errType
		default:
			err = r.skip(number, wire)
		}
		if err != nil {
			return located(err, at, "io.prometheus.write.v2.TimeSeries")
		}
	}
	if odd == 1 {
		return located(errOdd, r.end, "io.prometheus.write.v2.TimeSeries")
	}
	return d.hand(d.key, meta)
}

// part2 reads one field of a series.
func (d *decoder) part2(number uint64, sub reader, meta *series.Meta, label func(uint64) error) error {
	switch number {
	case 1:
		for sub.more() {
			ref, ok := sub.varint()
			if !ok {
				return errTruncated
			}
			if err := label(ref); err != nil {
				return err
			}
		}
	case 2:
		p, start, err := sample(sub)
		if err != nil {
			return err
		}
		if start > 0 {
			meta.Start = start
		}
		d.numbers = append(d.numbers, p)
	case 3:
		d.natives = append(d.natives, sub)
	case 5:
		return d.metadata(sub, meta)
	}
	return nil // exemplars have no use here
}

func (d *decoder) metadata(r reader, meta *series.Meta) error {
	for r.more() {
		number, wire, err := r.field()
		if err != nil {
			return err
		}
		if number != 1 && number != 4 {
			if err := r.skip(number, wire); err != nil {
				return err
			}
			continue
		}
		v, ok := r.varint()
		if wire != wireVarint || !ok {
			return errType
		}
		if number == 4 {
			unit, err := d.symbol(v)
			if err != nil {
				return err
			}
			meta.Unit = unitName(unit)
			continue
		}
		switch v {
		case typeCounter:
			meta.Kind = series.KindCounter
		case typeGauge, typeGaugeHistogram:
			meta.Kind = series.KindGauge
		default:
			meta.Kind = series.KindUnknown // _sum, _count and _bucket tell by their names
		}
	}
	return nil
}

// unitName gives the short names that most units are known by without making a
// string of each.
func unitName(unit []byte) string {
	switch string(unit) {
	case "":
		return ""
	case "seconds":
		return "s"
	case "bytes":
		return "By"
	case "ratio":
		return "1"
	case "percent":
		return "%"
	}
	const most = 32
	return string(unit[:min(len(unit), most)])
}
