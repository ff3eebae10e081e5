package app

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"

	"latchkey/domain/device"
	"latchkey/domain/ids"
	"latchkey/domain/privilege"
	"latchkey/domain/share"
)

// lookup looks up devices, each once.
type lookup struct {
	core  *core
	mu    sync.Mutex
	found map[string]device.State
}

// lookupsAtOnce is how many devices are looked up at the same time.
const lookupsAtOnce = 16

// all looks up devices concurrently: sequentially, a share of hundreds would wait for the
// log as many times.
func (l *lookup) all(ctx context.Context, ids []string) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(lookupsAtOnce)
	for _, id := range ids {
		g.Go(func() error {
			_, err := l.device(ctx, id)
			return err
		})
	}
	return g.Wait()
}

func newLookup(s *core) *lookup {
	return &lookup{core: s, found: make(map[string]device.State)}
}

// device returns the device, the zero State if it does not exist.
func (l *lookup) device(ctx context.Context, id string) (device.State, error) {
	l.mu.Lock()
	d, ok := l.found[id]
	l.mu.Unlock()
	if ok {
		return d, nil
	}
	d, err := l.core.loadDevice(ctx, id)
	if err == nil {
		l.mu.Lock()
		l.found[id] = d
		l.mu.Unlock()
	}
	return d, err
}

func (l *lookup) facts(ctx context.Context, id string) (share.Facts, error) {
	d, err := l.device(ctx, id)
	if err != nil || !d.Live {
		return share.Facts{}, err
	}
	f := share.Facts{Owner: d.Owner, Capabilities: make(map[int]privilege.Set, len(d.Channels)), NeedsFirmware: l.core.firmware.Needed(d.Facts)}
	for _, c := range d.Channels {
		f.Capabilities[c.Channel] = c.Capabilities
	}
	return f, nil
}

func (l *lookup) offers(ctx context.Context, list []DeviceGrants) ([]share.Offer, error) {
	ids := make([]string, len(list))
	for i, d := range list {
		ids[i] = d.Device
	}
	if err := l.all(ctx, ids); err != nil {
		return nil, err
	}
	offers := make([]share.Offer, len(list))
	for i, d := range list {
		f, err := l.facts(ctx, d.Device)
		if err != nil {
			return nil, err
		}
		offers[i] = share.Offer{Device: d.Device, Grants: d.Grants, Terms: d.Terms, Facts: f}
	}
	return offers, nil
}

// names returns the sealed names of the devices in a share.
func (l *lookup) names(ctx context.Context, s share.State) (map[string]string, error) {
	ids := make([]string, len(s.Devices))
	for i, d := range s.Devices {
		ids[i] = d.Device
	}
	if err := l.all(ctx, ids); err != nil {
		return nil, err
	}
	names := make(map[string]string, len(s.Devices))
	for _, d := range s.Devices {
		found, err := l.device(ctx, d.Device)
		if err != nil {
			return nil, err
		}
		names[d.Device] = found.Name
	}
	return names, nil
}

// maySee reports whether the device is the account's, or is shared with its login
// and accepted.
func (s *core) maySee(ctx context.Context, account ids.Account, login string, device ids.Device) (bool, error) {
	d, err := s.loadDevice(ctx, string(device))
	if err != nil || !d.Live || account == "" {
		return false, err
	}
	if d.Owner == string(account) {
		return true, nil
	}
	// The device may have come by any address of the account.
	of, err := load(ctx, s, accountKind, accountStream(string(account)))
	if err != nil {
		return false, err
	}
	logins := []string{login}
	for _, a := range of.state.Addresses {
		if a.Login != login {
			logins = append(logins, a.Login)
		}
	}
	for _, login := range logins {
		given, err := s.loadShare(ctx, share.ID(d.Owner, login))
		if err != nil {
			return false, err
		}
		in, ok := given.state.Find(string(device))
		if ok && given.state.Live && in.Status == share.StatusAccepted && in.Account == string(account) {
			return true, nil
		}
	}
	return false, nil
}
