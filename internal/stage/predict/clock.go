package predict

import (
	"time"

	"grace"
)

// Zones says by whose clock a service has its days and weeks.
type Zones struct {
	Default *time.Location // of services that are not in Of; nil: UTC
	Of      map[grace.ServiceID]*time.Location
}

func (z *Zones) of(service grace.ServiceID) *time.Location {
	if zone := z.Of[service]; zone != nil {
		return zone
	}
	if z.Default != nil {
		return z.Default
	}
	return time.UTC
}

// clock tells the hours of a zone. What repeats every 24 or 168 hours does so by any clock
// that is always as far from UTC, so where the offset is no whole hour (Asia/Kolkata) it is
// rounded: only its changes matter, and those of less than an hour (Australia/Lord_Howe)
// are none.
type clock struct {
	zone     *time.Location
	from, to int64 // unix ms, between which the offset holds
	ahead    int64 // of UTC, in hours
}

// offset is by how many hours the clock is ahead of UTC at a time in unix ms.
func (c *clock) offset(at int64) int64 {
	if at < c.from || at >= c.to {
		c.turn(at)
	}
	return c.ahead
}

func (c *clock) turn(at int64) {
	t := time.UnixMilli(at).In(c.zone)
	_, seconds := t.Zone()
	c.ahead = floorDiv(int64(seconds)+1800, 3600)
	c.from, c.to = minTime, maxTime
	from, to := t.ZoneBounds()
	if !from.IsZero() {
		c.from = from.UnixMilli()
	}
	if !to.IsZero() {
		c.to = to.UnixMilli()
	}
}

const (
	maxTime = int64(1) << 62
	minTime = -maxTime
)

// local gives the hour, since 1970, that the clock shows in an hour of UTC.
func (c *clock) local(hour int64) int64 { return hour + c.offset(hour*hourLength) }

func floorDiv(a, b int64) int64 {
	if q := a / b; q*b <= a {
		return q
	}
	return a/b - 1
}

// Localize has the series of services go by their zones' clocks.
func (a *Agent) Localize(z Zones) {
	a.zones, a.clocks = z, map[*time.Location]*clock{}
	for h := range Handle(a.places) {
		if s := a.at(h); s != nil {
			s.clock = a.clockOf(s.name().Service)
		}
	}
}

// clockOf gives the clock of a service's zone, which all series of that zone share.
func (a *Agent) clockOf(service grace.ServiceID) *clock {
	zone := a.zones.of(service)
	c := a.clocks[zone]
	if c == nil {
		c = &clock{zone: zone}
		a.clocks[zone] = c
	}
	return c
}
