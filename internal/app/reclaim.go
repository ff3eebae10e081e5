package app

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"

	"latchkey/domain/device"
	"latchkey/domain/event"
	"latchkey/domain/reclaim"
	"latchkey/domain/request"
	"latchkey/internal/position"
)

const (
	// DefaultReclaimWait is how long the owner of a device can object to a claim before it
	// can be completed.
	DefaultReclaimWait = 72 * time.Hour
	// mostClaims is how many claims to one device may wait.
	mostClaims = 10
)

// ClaimsTo counts claims to devices.
type ClaimsTo interface {
	// ReclaimsOf returns how many claims to a device wait at a time; it may be a moment old.
	ReclaimsOf(ctx context.Context, device string, now time.Time) (int, error)
}

// Reclaimed is the result of a command about a claim.
type Reclaimed struct {
	Position position.Position
	Claim    reclaim.State
}

var (
	errNotTaken     = errors.New("no account has this device: add it")
	errClaims       = errors.New("too many others claim this device at the moment")
	errSerialUnsaid = errors.New("the device does not say its serial number: it can be reclaimed only by a device that answers ISAPI or ONVIF at isapi_url or onvif_url; a serial number that is typed proves nothing")
	errStillReached = errors.New("this service still reaches the device at another address, with the password of its owner: change the password at the device first, and then complete the claim")
)

// StartReclaim claims a device of another account for the caller, who proves to have it:
// the service connects to it with the password, and the device itself says its serial. The
// owner is told, and can object until the claim is completed. Who the owner is, is not
// told; whose claim it is, the owner sees.
func (d *Devices) StartReclaim(ctx context.Context, m Meta, n NewDevice) (Reclaimed, error) {
	c, n, err := d.beginReclaim(ctx, m, "start reclaim", n)
	if err != nil {
		return Reclaimed{}, err
	}
	if err := d.core.refuseUnproven(ctx, c.Account); err != nil {
		return Reclaimed{}, err
	}
	n, _, serial, err := d.possession(ctx, c, n)
	if err != nil {
		return Reclaimed{}, err
	}
	spent := false
	done, err := run(ctx, d.core, c, onReclaim(request.ID(serial, c.Account)), func(there stream[reclaim.State]) ([]reclaim.Event, error) {
		owned, err := d.asksFor(ctx, serial)
		switch {
		case err != nil:
			return nil, err
		case owned.Device == "":
			return nil, errNotTaken
		case owned.Owner == c.Account:
			return nil, device.ErrAlreadyAdded
		}
		events, err := reclaim.Decide(there.state, reclaim.Claim{
			Serial: serial, Account: c.Account, Device: owned.Device, Owner: owned.Owner, Wait: d.reclaimWait, At: d.core.now(),
		})
		if err != nil || len(events) == 0 || spent {
			return events, err
		}
		if err := d.refuseMoreClaims(ctx, owned.Device); err != nil {
			return nil, err
		}
		err = d.core.spend(c.Account, QuotaRequests, "", 1)
		spent = err == nil
		return events, err
	})
	return Reclaimed{Position: done.position, Claim: done.state}, point(err, n.field(err))
}

func (d *Devices) refuseMoreClaims(ctx context.Context, id string) error {
	if d.claims == nil {
		return nil
	}
	waiting, err := d.claims.ReclaimsOf(ctx, id, d.core.now())
	if err != nil {
		return unavailable(fmt.Errorf("counting the claims to a device: %w", err))
	}
	if waiting >= mostClaims {
		return errClaims
	}
	return nil
}

// beginReclaim checks what is said of a device that the caller has.
func (d *Devices) beginReclaim(_ context.Context, m Meta, what string, n NewDevice, args ...any) (command, NewDevice, error) {
	c, err := d.core.begin(m, what, append([]any{n.withoutSecrets()}, args...)...)
	if err != nil {
		return command{}, n, err
	}
	f := faults{}
	n = n.withCredentials(f)
	n.check(f)
	if n.ISAPIURL == "" && n.ONVIFURL == "" {
		f.add("isapi_url", "is needed, or onvif_url: the device itself must say its serial number")
	}
	if err := f.err(); err != nil {
		return command{}, n, err
	}
	if d.prover == nil {
		return command{}, n, unavailable(errors.New("this service connects to no devices"))
	}
	return c, n, nil
}

// possession connects to a device and returns it as it describes itself, with the serial
// that it says. It must run outside of any turn.
func (d *Devices) possession(ctx context.Context, c command, n NewDevice) (NewDevice, device.Facts, string, error) {
	facts, err := d.prover.Prove(ctx, c.Account, n.withChannels().camera())
	if err != nil {
		return n, device.Facts{}, "", proofRefused(err, n.fieldOf)
	}
	said, err := provenSerial("", facts.Serial)
	if err == nil && said == "" {
		err = refused(errSerialUnsaid)
	}
	if err == nil {
		_, err = provenSerial(n.Serial, facts.Serial)
	}
	if err != nil {
		return n, device.Facts{}, "", err
	}
	serial, _ := device.Serial(said)
	n.Serial = said
	n, err = n.withFacts(facts)
	return n.withChannels(), device.Facts{Model: facts.Model, Firmware: facts.Firmware, ProvenAt: d.core.now()}, serial, err
}

// EndReclaim ends a claim: the owner of the device objects, or the claimant withdraws it.
func (d *Devices) EndReclaim(ctx context.Context, m Meta, id string, objects bool) (Done, error) {
	c, err := d.core.begin(m, "end reclaim", id, objects)
	if err != nil {
		return Done{}, err
	}
	if _, _, ok := request.Parse(id); !ok {
		return Done{}, refused(reclaim.ErrNotFound)
	}
	on := onReclaim(id)
	on.admit = func(s reclaim.State) error {
		if objects && s.Owner == c.Account || !objects && s.Account == c.Account {
			return nil
		}
		return refused(reclaim.ErrNotFound)
	}
	done, err := run(ctx, d.core, c, on, func(there stream[reclaim.State]) ([]reclaim.Event, error) {
		return reclaim.Decide(there.state, reclaim.End{By: c.Account, At: c.at})
	})
	return Done{Position: done.position}, err
}

// CompleteReclaim takes the device over once the owner did not object within the waiting
// time. The caller proves again that they have it. First the claim is completed, so that
// no objection comes in between; then the device changes hands in one append. Cut off
// between the two, the owner still has it, and the same request goes on.
func (d *Devices) CompleteReclaim(ctx context.Context, m Meta, id string, n NewDevice) (DeviceChanged, error) {
	c, n, err := d.beginReclaim(ctx, m, "complete reclaim", n, id)
	if err != nil {
		return DeviceChanged{}, err
	}
	serial, claimant, ok := request.Parse(id)
	if !ok || claimant != c.Account {
		return DeviceChanged{}, refused(reclaim.ErrNotFound)
	}
	there, err := load(ctx, d.core, reclaimKind, reclaimStream(id))
	if err != nil {
		return DeviceChanged{}, err
	}
	owned, err := d.asksFor(ctx, serial)
	if err != nil {
		return DeviceChanged{}, err
	}
	if there.state.Ended == reclaim.Completed && owned.Owner == c.Account { // it is done
		return DeviceChanged{Position: there.position(), Device: owned}, nil
	}
	complete := reclaim.Complete{By: c.Account, Device: owned.Device, At: c.at}
	if _, err := reclaim.Decide(there.state, complete); err != nil { // nothing is connected to in vain
		return DeviceChanged{}, refused(err)
	}
	n, facts, said, err := d.possession(ctx, c, n)
	if err != nil {
		return DeviceChanged{}, err
	}
	if said != serial {
		return DeviceChanged{}, refused(reclaim.ErrNotFound)
	}
	if err := d.refuseStillReached(ctx, c, owned.Device, serial, n); err != nil {
		return DeviceChanged{}, err
	}
	add, err := d.addition(ctx, c, n)
	if err != nil {
		return DeviceChanged{}, err
	}
	add.Serial, add.Facts = serial, facts
	claimed := c
	claimed.IdempotencyKey = "" // what is done is found in the streams
	_, err = run(ctx, d.core, claimed, onReclaim(id), func(there stream[reclaim.State]) ([]reclaim.Event, error) {
		owned, err := d.asksFor(ctx, serial)
		if err != nil {
			return nil, err
		}
		return reclaim.Decide(there.state, reclaim.Complete{By: c.Account, Device: owned.Device, At: d.core.now()})
	})
	if err != nil {
		return DeviceChanged{}, err
	}
	return d.takeReclaimed(ctx, claimed, owned, add, n.camera())
}

// takeReclaimed makes a device the claimant's, as the claimant reaches it: what its owner
// knew of it is forgotten, and not handed on.
func (d *Devices) takeReclaimed(ctx context.Context, c command, owned device.State, add device.Add, camera Camera) (DeviceChanged, error) {
	var err error
	taking := taking{devices: d, command: c, serial: add.Serial}
	defer func() { taking.settle(err) }()
	done, err := run(ctx, d.core, c, onAnyDevice(add.Serial), func(there stream[device.State]) ([]device.Event, error) {
		add.At = d.core.now()
		events, err := device.Decide(there.state, device.Reclaim{Device: owned.Device, From: owned.Owner, Add: add})
		if errors.Is(err, device.ErrNotFound) {
			return nil, reclaim.ErrNotFound
		}
		if err != nil {
			return nil, err
		}
		if err := taking.room(ctx, owned.Device, device.EndShares, there.position()); err != nil {
			return nil, err
		}
		if err := taking.stage(ctx, camera, events); err != nil {
			return nil, err
		}
		return events, taking.notClosed(ctx)
	})
	if err != nil {
		taking.refused(ctx, err)
		return DeviceChanged{}, err
	}
	return taking.finish(ctx, done)
}

// refuseStillReached refuses a claim whose device is, by all that this service can see,
// still where its owner reaches it, and not where the claimant says: anybody can make a
// server that says any serial. The address that the owner gave is asked with the owner's
// own credentials, never with the claimant's. A device that does not answer there, or that
// has another password by now, is where the claimant says.
func (d *Devices) refuseStillReached(ctx context.Context, c command, id, serial string, claimed NewDevice) error {
	camera, found, err := d.cameras.Camera(ctx, id)
	if err != nil {
		return unavailable(fmt.Errorf("reading how a device is reached: %w", err))
	}
	known := Camera{Username: camera.Username, Password: camera.Password, ISAPIURL: camera.ISAPIURL, ONVIFURL: camera.ONVIFURL}
	if !found || known.ISAPIURL == "" && known.ONVIFURL == "" {
		return nil
	}
	for _, a := range []string{known.ISAPIURL, known.ONVIFURL} {
		for _, b := range []string{claimed.ISAPIURL, claimed.ONVIFURL} {
			if a != "" && b != "" && sameHost(a, b) {
				return nil // the claimant was let in there
			}
		}
	}
	facts, err := d.prover.Prove(ctx, c.Account, known)
	if failed, ok := errors.AsType[*NotProven](err); ok && failed.RetryAfter == 0 {
		return nil
	}
	if err != nil {
		return proofRefused(err, func(string, string, int) Field { return "" })
	}
	said, err := provenSerial("", facts.Serial)
	if there, _ := device.Serial(said); err != nil || there != serial {
		return nil
	}
	return refused(errStillReached)
}

// sameHost reports whether two addresses are one host and port.
func sameHost(a, b string) bool {
	at := endpoint(a)
	return at != "" && at == endpoint(b)
}

func endpoint(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" {
		return ""
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return strings.ToLower(u.Hostname()) + " " + port
}

// TellOfReclaim is the policy that follows a claim: the owner of the device is told at
// every address that is theirs. cause is the id of the event; following it again sends
// nothing more.
func (d *Devices) TellOfReclaim(ctx context.Context, cause uuid.UUID, e reclaim.Claimed) error {
	return d.tellOwner(ctx, cause, e.Owner, Notice{What: NoticeReclaim, Ready: e.Ready, Until: e.Ready.Add(reclaim.Lasts)})
}

// TellOfLoss is the policy that follows a device that went to another account by a claim.
func (d *Devices) TellOfLoss(ctx context.Context, cause uuid.UUID, e device.Removed) error {
	return d.tellOwner(ctx, cause, e.Owner, Notice{What: NoticeReclaimed, Until: e.At.Add(reclaim.Lasts)})
}

// tellOwner sends a notice to every address that is proven to be an owner's.
func (d *Devices) tellOwner(ctx context.Context, cause uuid.UUID, owner string, n Notice) error {
	there, err := load(ctx, d.core, accountKind, accountStream(owner))
	if err != nil || there.state.Closed || !d.core.now().Before(n.Until) {
		return err
	}
	n.Account, n.Language = owner, there.state.Language
	var failed []error
	for _, a := range there.state.Addresses {
		if a.Verified || !d.core.verify {
			n.ID, n.Kind = n.What+"-"+uuid.NewSHA1(cause, []byte(a.Login)).String(), a.Kind
			failed = append(failed, d.tell(ctx, n, event.FieldAddress, a.Text))
		}
	}
	return errors.Join(failed...)
}

func onReclaim(id string) target[reclaim.State, reclaim.Event] {
	return target[reclaim.State, reclaim.Event]{kind: reclaimKind, name: reclaimStream(id)}
}
