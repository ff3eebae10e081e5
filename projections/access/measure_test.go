package access_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/domain/ids"
	"latchkey/domain/privilege"
	"latchkey/eventstore"
	"latchkey/projections/access"
)

// many is a read model of n grants: ten for each account, five for each device.
type many struct{ n int }

func (m many) account(i int) string { return fmt.Sprintf("0190a000-0000-7000-8000-%012x", i) }
func (m many) device(i int) string  { return fmt.Sprintf("ds-2cd2386g2-%010x", i) }

func (m many) LoadPrivileges(_ context.Context, l access.Loader) (eventstore.Position, eventstore.Mark, error) {
	accounts, devices := m.n/10, m.n/5
	r := rand.New(rand.NewPCG(1, 2))
	for i := range m.n {
		a, d := uint32(i%accounts+1), uint32(r.IntN(devices)+1)
		l.Grant(a, d, uint16(r.IntN(8)+1), uint8(r.IntN(31)+1))
	}
	for i := 1; i <= accounts; i++ {
		l.Account(uint32(i), ids.Account(m.account(i)))
	}
	for i := 1; i <= devices; i++ {
		l.Device(uint32(i), ids.Device(m.device(i)), uint32(i%accounts+1), true)
	}
	return 0, eventstore.Mark{}, nil
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// maxBytes is what a grant may take, with everything that is found by name.
const maxBytes = 24

func TestMemory(t *testing.T) {
	const n = 200_000
	synctest.Test(t, func(t *testing.T) {
		before := heap()
		x := running(t, many{n}, newLog(), nil)
		wait(t, x, 0)
		synctest.Wait()
		if each := float64(heap()-before) / n; each > maxBytes {
			t.Errorf("a grant takes %.1f bytes, at most %d are meant", each, maxBytes)
		} else {
			t.Logf("a grant takes %.1f bytes", each)
		}
		runtime.KeepAlive(x)
	})
}

func TestChecksAllocateNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := many{1000}
		x := running(t, m, newLog(), nil)
		wait(t, x, 0)
		synctest.Wait()
		account, device, now := m.account(2), m.device(1), time.Now() // its owner
		ref := x.Intern(ids.Account(account), ids.Device(device))
		n := testing.AllocsPerRun(1000, func() {
			x.CheckRef(ref, 1, privilege.LiveView, now)
			x.Check(ids.Account(account), ids.Device(device), 1, privilege.PTZ, now)
		})
		if n != 0 {
			t.Errorf("two checks allocate %v times", n)
		}
	})
}

func BenchmarkCheckRef(b *testing.B) {
	const n = 1_000_000
	m := many{n}
	log := newLog()
	x, err := access.New(access.Config{Source: m, Log: log, MaxStaleness: time.Hour})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- x.Run(ctx) }()
	defer func() { cancel(); <-done }()
	for x.Health().State != "live" {
		runtime.Gosched()
	}
	r := rand.New(rand.NewPCG(3, 4))
	refs := make([]access.Ref, 1<<16)
	for i := range refs {
		refs[i] = x.Intern(ids.Account(m.account(r.IntN(n/10)+1)), ids.Device(m.device(r.IntN(n/5)+1)))
	}
	now := time.Now()
	i := 0
	for b.Loop() {
		i++
		x.CheckRef(refs[i&(len(refs)-1)], i&7+1, privilege.LiveView, now)
	}
}
