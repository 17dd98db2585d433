package loop

import (
	"sync"
	"time"
)

const (
	// lazyQuick is what an answer may cost to be made anew every time.
	lazyQuick = 20 * time.Millisecond
	// lazyShare bounds what is spent on one that costs more: one part in so many
	// of the time.
	lazyShare = 10
	// lazyOld is when even an expensive answer is not given any more.
	lazyOld = time.Minute
)

// staleWhileRevalidate keeps an answer that is expensive to make. While another one is made it gives
// the old one: who looks at a page of a large installation does not wait for
// its history to be counted.
type staleWhileRevalidate[T any] struct {
	mu     sync.Mutex
	value  T
	at     time.Time // the zero time: there is none
	took   time.Duration
	making bool
}

// get gives the answer of make, by spawn where an old one will do meanwhile.
func (z *staleWhileRevalidate[T]) get(now time.Time, make func() (T, error), spawn func(func())) (T, error) {
	z.mu.Lock()
	age, value := now.Sub(z.at), z.value
	anew := z.at.IsZero() || z.took < lazyQuick || age > lazyOld || age < 0
	beside := !anew && !z.making && age > lazyShare*z.took
	z.making = z.making || beside
	z.mu.Unlock()
	if anew {
		return z.fill(now, make)
	}
	if beside {
		spawn(func() {
			_, _ = z.fill(now, make) // on an error the old answer stays, until it is too old
		})
	}
	return value, nil
}

func (z *staleWhileRevalidate[T]) fill(now time.Time, make func() (T, error)) (T, error) {
	began := time.Now()
	value, err := make()
	z.mu.Lock()
	defer z.mu.Unlock()
	z.making = false
	if err == nil {
		z.value, z.at, z.took = value, now, time.Since(began)
	}
	return value, err
}
