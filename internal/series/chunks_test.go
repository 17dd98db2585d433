package series

import (
	"math"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"pgregory.net/rapid"
)

// written is a sample as it went in.
type written struct {
	at int64
	value
}

func (w *written) kind() chunkenc.ValueType {
	switch {
	case w.integer != nil:
		return chunkenc.ValHistogram
	case w.decimal != nil:
		return chunkenc.ValFloatHistogram
	default:
		return chunkenc.ValFloat
	}
}

func (w *written) equals(it chunkenc.Iterator, kind chunkenc.ValueType) bool {
	if kind != w.kind() || it.AtT() != w.at || it.AtST() != w.start {
		return false
	}
	switch kind {
	case chunkenc.ValHistogram:
		at, h := it.AtHistogram(nil)
		_, decimal := it.AtFloatHistogram(nil)
		return at == w.at && same(h.ToFloat(nil), w.integer.ToFloat(nil)) && same(decimal, w.integer.ToFloat(nil))
	case chunkenc.ValFloatHistogram:
		at, h := it.AtFloatHistogram(nil)
		return at == w.at && same(h, w.decimal)
	default:
		at, v := it.At()
		return at == w.at && math.Float64bits(v) == math.Float64bits(w.float)
	}
}

// same compares what was counted: buckets without anything in them may come and go.
func same(a, b *histogram.FloatHistogram) bool {
	a, b = a.Copy().Compact(0), b.Copy().Compact(0)
	a.CounterResetHint, b.CounterResetHint = 0, 0
	return math.Float64bits(a.Sum) == math.Float64bits(b.Sum) && (a.Equals(b) || math.IsNaN(a.Sum))
}

func (w *written) copy() value {
	v := w.value
	if v.integer != nil {
		v.integer = v.integer.Copy()
	}
	if v.decimal != nil {
		v.decimal = v.decimal.Copy()
	}
	return v
}

// series draws samples: runs of one kind, with a start or without, at odd times.
func drawSeries(t *rapid.T) []written {
	var out []written
	at := int64(1000)
	for range rapid.IntRange(0, 8).Draw(t, "runs") {
		kind := rapid.IntRange(0, 2).Draw(t, "kind")
		start := rapid.SampledFrom([]int64{0, 0, 500}).Draw(t, "start")
		for range rapid.SampledFrom([]int{1, 2, 3, 10, 119, 121, 250}).Draw(t, "long") {
			at += rapid.SampledFrom([]int64{1, 15, 1000, 1000, 1000, 1003, 70_000}).Draw(t, "step")
			out = append(out, written{at, drawValue(t, kind, start)})
		}
	}
	return out
}

func drawValue(t *rapid.T, kind int, start int64) value {
	n := rapid.IntRange(0, 9).Draw(t, "v")
	if kind == 0 {
		return value{start: start, float: []float64{0, 1, -1, 0.1, 1e100, math.NaN(), math.Inf(1), stale, 3, 3}[n]}
	}
	h := &histogram.Histogram{Schema: int32(n % 2), ZeroThreshold: 0.001, ZeroCount: uint64(n), Count: uint64(n), Sum: float64(n)}
	if n > 3 {
		h.PositiveSpans = []histogram.Span{{Offset: int32(n - 3), Length: 2}}
		h.PositiveBuckets = []int64{int64(n), 1}
		h.Count += uint64(2*n + 1)
	}
	if kind == 1 {
		return value{start: start, integer: h}
	}
	return value{start: start, decimal: h.ToFloat(nil)}
}

func keepAll(t fataler, list []written, keep int64) *samples {
	t.Helper()
	s := &samples{}
	for i := range list {
		if err := s.append(list[i].at, list[i].copy(), keep); err != nil {
			t.Fatalf("append: %v", err)
		}
	}
	return s
}

// readAll is what is kept within two times.
func (s *samples) readAll(first, last int64) (it chunkenc.Iterator, n int) {
	for _, c := range s.within(first, last) {
		n += c.NumSamples()
	}
	return over(s.within(first, last), nil), n
}

func equalAll(t *rapid.T, it chunkenc.Iterator, want []written) {
	t.Helper()
	for i := range want {
		if kind := it.Next(); kind == chunkenc.ValNone || !want[i].equals(it, kind) {
			t.Fatalf("sample %d of %d: a %v at %d, want %+v", i, len(want), kind, it.AtT(), want[i])
		}
	}
	if kind := it.Next(); kind != chunkenc.ValNone || it.Err() != nil {
		t.Fatalf("%v, %v after the last of %d", kind, it.Err(), len(want))
	}
}

// What is kept is read as it was written, whichever way it is walked.
func TestChunks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := drawSeries(t)
		keep := rapid.SampledFrom([]int64{1 << 40, 1 << 40, 600_000, 5}).Draw(t, "keep")
		s := keepAll(t, list, keep)
		if newest, ok := s.newest(); ok != (len(list) > 0) || ok && newest != list[len(list)-1].at {
			t.Fatalf("newest %d, %v", newest, ok)
		}
		it, n := s.readAll(math.MinInt64, math.MaxInt64)
		if n > len(list) {
			t.Fatalf("%d samples of %d", n, len(list))
		}
		left := list[len(list)-n:]
		if n < len(list) && list[len(list)-n-1].at >= list[len(list)-1].at-keep {
			t.Fatalf("the sample of %d is gone, though %d is kept until %d", list[len(list)-n-1].at, keep, list[len(list)-1].at)
		}
		equalAll(t, it, left)
		walkAbout(t, over(s.within(math.MinInt64, math.MaxInt64), it), s, left)
	})
}

// walkAbout calls Next and Seek in any order, also to times around chunks' ends.
func walkAbout(t *rapid.T, it chunkenc.Iterator, s *samples, list []written) {
	edges := []int64{math.MinInt64, 0, math.MaxInt64}
	for _, c := range s.chunks {
		edges = append(edges, c.first-1, c.first, c.first+1, c.last-1, c.last, c.last+1)
	}
	for i := range 5 {
		if len(list) > 0 {
			edges = append(edges, list[i*(len(list)-1)/5].at)
		}
	}
	at := -1 // where the walk is
	for range rapid.IntRange(0, 30).Draw(t, "steps") {
		var kind chunkenc.ValueType
		if rapid.Bool().Draw(t, "next") {
			at++
			kind = it.Next()
		} else {
			to := rapid.SampledFrom(edges).Draw(t, "to")
			at = max(at, 0)
			for at < len(list) && list[at].at < to {
				at++
			}
			kind = it.Seek(to)
		}
		if at >= len(list) {
			if kind != chunkenc.ValNone || it.Next() != chunkenc.ValNone || it.Seek(0) != chunkenc.ValNone || it.Err() != nil {
				t.Fatalf("%v after the end, %v", kind, it.Err())
			}
			return
		}
		if kind == chunkenc.ValNone || !list[at].equals(it, kind) {
			t.Fatalf("a %v at %d, want %+v, %v", kind, it.AtT(), list[at], it.Err())
		}
	}
}

// What is within two times is all that is, and from chunks that touch them only.
func TestWithin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := drawSeries(t)
		s := keepAll(t, list, 1<<40)
		first := rapid.Int64Range(0, 2_000_000).Draw(t, "first")
		last := first + rapid.Int64Range(0, 500_000).Draw(t, "long")
		chunks := s.within(first, last)
		read := map[int64]bool{}
		for it := over(chunks, nil); it.Next() != chunkenc.ValNone; {
			read[it.AtT()] = true
		}
		for i := range list {
			if at := list[i].at; at >= first && at <= last && !read[at] {
				t.Fatalf("the sample of %d is not within %d and %d", at, first, last)
			}
		}
		for _, c := range chunks {
			if c.last < first || c.first > last {
				t.Fatalf("a chunk from %d to %d, asked for %d to %d", c.first, c.last, first, last)
			}
		}
	})
}

// What was read stays as it is while more is appended.
func TestWithinIsACopy(t *testing.T) {
	list := make([]written, 300)
	for i := range list {
		list[i] = written{int64(i) * 1000, value{float: float64(i)}}
	}
	s := keepAll(t, list[:50], 1<<40)
	it, _ := s.readAll(math.MinInt64, math.MaxInt64)
	for i := 50; i < 300; i++ {
		if err := s.append(list[i].at, list[i].value, 100_000); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for ; it.Next() != chunkenc.ValNone; n++ {
		if !list[n].equals(it, chunkenc.ValFloat) {
			t.Fatalf("sample %d: %d", n, it.AtT())
		}
	}
	if n != 50 {
		t.Errorf("%d samples, want 50", n)
	}
}

// Old chunks go, so that what is kept is not much more than what is asked for.
func TestTrim(t *testing.T) {
	s := &samples{}
	const keep = 300_000
	for i := range int64(5000) {
		if err := s.append(i*1000, value{float: float64(i)}, keep); err != nil {
			t.Fatal(err)
		}
		if _, n := s.readAll(math.MinInt64, math.MaxInt64); n > 300+151 || int64(n) < min(i+1, 301) {
			t.Fatalf("%d samples at %d", n, i)
		}
	}
}

// What is later than a time is let go, the rest stays, and appending goes on.
func TestCutAfter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := drawSeries(t)
		s := keepAll(t, list, 1<<40)
		at := rapid.SampledFrom(append([]int64{-5, math.MaxInt64}, times(list)...)).Draw(t, "at")
		if rapid.Bool().Draw(t, "between") && at < math.MaxInt64 {
			at++
		}
		n := 0
		for n < len(list) && list[n].at <= at {
			n++
		}
		var newest value
		if err := s.cutAfter(at, &newest); err != nil {
			t.Fatal(err)
		}
		if n > 0 && (newest.encoding() != list[n-1].encoding() || math.Float64bits(newest.float) != math.Float64bits(list[n-1].float)) {
			t.Fatalf("the newest is %+v, want %+v", newest, list[n-1])
		}
		left := slices.Clone(list[:n])
		it, _ := s.readAll(math.MinInt64, math.MaxInt64)
		equalAll(t, it, left)
		since := int64(0)
		if n > 0 {
			since = left[n-1].at
		}
		for i := range int64(rapid.SampledFrom([]int{0, 1, 130}).Draw(t, "more")) {
			more := written{since + 1 + 1000*i, drawValue(t, int(i/50)%3, 0)}
			left = append(left, more)
			if err := s.append(more.at, more.copy(), 1<<40); err != nil {
				t.Fatal(err)
			}
		}
		it, _ = s.readAll(math.MinInt64, math.MaxInt64)
		equalAll(t, it, left)
	})
}

func times(list []written) (out []int64) {
	for i := range list {
		out = append(out, list[i].at)
	}
	return out
}
