package loop

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestLazy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var z lazy[int]
		made := 0
		slow := func() (int, error) {
			time.Sleep(100 * time.Millisecond)
			made++
			return made, nil
		}
		get := func() int {
			v, err := z.get(time.Now(), slow, func(f func()) { go f() })
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
		if v := get(); v != 1 {
			t.Fatalf("first: %d", v)
		}
		if v := get(); v != 1 || made != 1 {
			t.Errorf("at once again: %d, made %d times", v, made)
		}
		time.Sleep(2 * time.Second)
		began := time.Now()
		if v := get(); v != 1 || !time.Now().Equal(began) {
			t.Errorf("waited for a new one: %d", v)
		}
		get() // while one is made no other one is
		time.Sleep(200 * time.Millisecond)
		if v := get(); v != 2 || made != 2 {
			t.Errorf("after a new one was made: %d, made %d times", v, made)
		}
		time.Sleep(2 * lazyOld)
		if v := get(); v != 3 {
			t.Errorf("a very old answer was given: %d", v)
		}
		synctest.Wait()
	})
}
