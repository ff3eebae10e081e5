package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/uptrace/bun"

	"latchkey/projections/engine"
)

// restConnections is how many callers ask at once.
const restConnections = 64

// benchREST measures reads through the REST API of a real service on SQLite: the list of
// 50 shares beside a constant answer of the same server, and beside a plain query; how
// long an invitation takes to be on the recipient's screen; and saving 200 channels.
func benchREST(b *bench) error {
	s, err := startServe(b, "", "rest")
	if err != nil {
		return err
	}
	defer s.stop()
	for _, step := range []func(*bench, *served) error{listOfShares, inviteToEvent, saveChannels, validation} {
		if err := step(b, s); err != nil {
			return err
		}
	}
	return nil
}

// listOfShares compares a page of 50 shares with the root's constant answer, and with
// what a plain query for the same rows reaches in this process.
func listOfShares(b *bench, s *served) error {
	const shares = 50
	owner, err := s.account(b.ctx, "lister")
	if err != nil {
		return err
	}
	if err := owner.call(b.ctx, "POST", "/devices", newDevice("listed"), nil); err != nil {
		return err
	}
	for i := range shares {
		if err := owner.call(b.ctx, "POST", "/shares", newShare(fmt.Sprintf("listed%d@bench.example", i), "listed"), nil); err != nil {
			return err
		}
	}
	root := &account{api: strings.TrimSuffix(owner.api, "/api/v1")}
	db, err := engine.OpenSQLite(filepath.Join(b.dir, "rest", "projections.db"))
	if err != nil {
		return err
	}
	defer db.Close()
	constants, lists, plains := callersOf(root), callersOf(owner), plainQuery(b.ctx, db)
	// In turns, as the machine has other things to do at times; the ratios are medians.
	both := func() time.Duration { return cpuTime(s.cmd.Process.Pid) + cpuTime(os.Getpid()) }
	var slower, faster, cheaper []float64
	var constant, list, plain restLoad
	for range restRounds {
		n := b.scaled(20_000) / restRounds
		c, err1 := together(n, get(b.ctx, constants, "/healthz"))
		began := both()
		l, err2 := together(n, get(b.ctx, lists, "/shares/sent?limit=50"))
		between := both()
		p, err3 := together(n/5, plains)
		cheaper = append(cheaper, (both()-between).Seconds()*5/(between-began).Seconds())
		if err := errors.Join(err1, err2, err3); err != nil {
			return err
		}
		slower = append(slower, percentile(l.took, 0.99).Seconds()/percentile(c.took, 0.99).Seconds())
		faster = append(faster, l.rate()/p.rate())
		constant, list, plain = constant.and(c), list.and(l), plain.and(p)
	}
	b.add("list of 50 shares, 64 connections: p99", list.percentiles(), "a constant answer: "+constant.percentiles(), median(slower), "at most 4")
	b.add("list of 50 shares, 64 connections: rate", fmt.Sprintf("%.0f/s", list.rate()), fmt.Sprintf("a plain bun query %.0f/s", plain.rate()), median(faster), "at least 3")
	b.add("the same by CPU time, callers included", "", "a plain bun query", median(cheaper), "")
	return s.whileOthersShare(b, lists, plain)
}

// whileOthersShare measures the same list while another account shares without a pause.
func (s *served) whileOthersShare(b *bench, lists []*account, plain restLoad) error {
	other, err := s.account(b.ctx, "other-lister")
	if err != nil {
		return err
	}
	if err := other.call(b.ctx, "POST", "/devices", newDevice("other-listed"), nil); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(b.ctx)
	shared, ended := 0, make(chan error, 1)
	go func() {
		var err error
		for ; ctx.Err() == nil && err == nil; shared++ {
			err = other.call(b.ctx, "POST", "/shares", newShare(fmt.Sprintf("other%d@bench.example", shared), "other-listed"), nil)
		}
		ended <- err
	}()
	l, err := together(b.scaled(20_000), get(b.ctx, lists, "/shares/sent?limit=50"))
	stop()
	if err := errors.Join(err, <-ended); err != nil {
		return err
	}
	b.add(fmt.Sprintf("the same, while another account shares %.0f times a second", perSecond(shared, l.all)), fmt.Sprintf("%.0f/s, %s", l.rate(), l.percentiles()),
		"a plain bun query without that", l.rate()/plain.rate(), "")
	return nil
}

// restRounds is how often each load of a comparison is measured, in turns.
const restRounds = 9

func median(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
}

// load is how long each of many calls took, and all of them together.
type restLoad struct {
	took []time.Duration
	all  time.Duration
}

func (l restLoad) rate() float64 { return perSecond(len(l.took), l.all) }

func (l restLoad) and(other restLoad) restLoad {
	return restLoad{append(l.took, other.took...), l.all + other.all}
}

func (l restLoad) percentiles() string {
	return fmt.Sprintf("p50 %v, p99 %v", percentile(l.took, 0.5).Round(10*time.Microsecond), percentile(l.took, 0.99).Round(10*time.Microsecond))
}

// together makes n calls by all callers at once.
func together(n int, call func(caller int) error) (restLoad, error) {
	each := make([][]time.Duration, restConnections)
	failed := make([]error, restConnections)
	began := time.Now()
	var wg sync.WaitGroup
	for c := range restConnections {
		wg.Go(func() {
			for i := c; i < n && failed[c] == nil; i += restConnections {
				at := time.Now()
				failed[c] = call(c)
				each[c] = append(each[c], time.Since(at))
			}
		})
	}
	wg.Wait()
	l := restLoad{all: time.Since(began)}
	for _, took := range each {
		l.took = append(l.took, took...)
	}
	return l, errors.Join(failed...)
}

// callersOf returns callers with a connection each.
func callersOf(who *account) []*account {
	callers := make([]*account, restConnections)
	for i := range callers {
		callers[i] = who.again()
	}
	return callers
}

func get(ctx context.Context, callers []*account, path string) func(caller int) error {
	return func(caller int) error { return callers[caller].call(ctx, "GET", path, nil, nil) }
}

// plainQuery returns what reads the shares and their devices of the one owner as an
// ordinary program would: bun, a slice of structs.
func plainQuery(ctx context.Context, db *bun.DB) func(int) error {
	type device struct {
		bun.BaseModel `bun:"table:sent_share_devices,alias:d"`

		Share, Device, Status, Grants string
		Invited, Answered             int64
	}
	type sent struct {
		bun.BaseModel `bun:"table:sent_shares,alias:s"`

		Share                          string `bun:"share,pk"`
		Owner, Kind, Recipient, Remark string
		Opened                         int64
		Devices                        []device `bun:"rel:has-many,join:share=share"`
	}
	return func(int) error {
		var list []sent
		err := db.NewSelect().Model(&list).Relation("Devices").OrderExpr("s.opened DESC").Limit(50).Scan(ctx)
		if err == nil && len(list) != 50 {
			err = fmt.Errorf("a plain query found %d shares", len(list))
		}
		return err
	}
}

// inviteToEvent measures from the owner's request to the recipient's server-sent event.
func inviteToEvent(b *bench, s *served) error {
	owner, err := s.account(b.ctx, "host")
	if err != nil {
		return err
	}
	guest, err := s.account(b.ctx, "guest-of-host")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	came, err := guest.events(ctx)
	if err != nil {
		return err
	}
	var took []time.Duration
	for i := range b.scaled(200) {
		device := fmt.Sprintf("invited-%d", i)
		if err := owner.call(b.ctx, "POST", "/devices", newDevice(device), nil); err != nil {
			return err
		}
		began := time.Now()
		if err := owner.call(b.ctx, "POST", "/shares", newShare(guest.login, device), nil); err != nil {
			return err
		}
		select {
		case at, ok := <-came:
			if !ok {
				return errors.New("the stream of events has ended")
			}
			took = append(took, at.Sub(began))
		case <-time.After(10 * time.Second):
			return errors.New("an invitation caused no event")
		}
	}
	p50, p99 := percentile(took, 0.5), percentile(took, 0.99)
	b.add("invite to the recipient's event", fmt.Sprintf("p50 %v, p99 %v", p50.Round(10*time.Microsecond), p99.Round(10*time.Microsecond)), "100 ms", p99.Seconds()/0.1, "at most 1")
	return nil
}

// events returns when events of invitations come.
func (a *account) events(ctx context.Context) (<-chan time.Time, error) {
	r, err := http.NewRequestWithContext(ctx, "GET", a.api+"/events", nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+a.token)
	res, err := a.again().client.Do(r) //nolint:bodyclose // closed when the stream ends
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		res.Body.Close()
		return nil, fmt.Errorf("GET /events: %s", res.Status)
	}
	came := make(chan time.Time, 1000)
	ready := make(chan struct{})
	go func() {
		defer close(came)
		defer res.Body.Close()
		for lines := bufio.NewScanner(res.Body); lines.Scan(); {
			switch lines.Text() {
			case "event: ready":
				close(ready)
			case "event: invited":
				came <- time.Now()
			}
		}
	}()
	select {
	case <-ready:
		return came, nil
	case <-time.After(10 * time.Second):
		return nil, errors.New("the stream of events does not begin")
	}
}

// saveChannels measures the Save of a share with a device of 200 channels.
func saveChannels(b *bench, s *served) error {
	const channels = 200
	owner, err := s.account(b.ctx, "saver")
	if err != nil {
		return err
	}
	device := newDevice("recorder")
	delete(device, "rtsp_url")
	var has []any
	grants := func(privileges ...string) (list []any) {
		for i := range channels {
			list = append(list, map[string]any{"channel": i + 1, "privileges": privileges})
		}
		return list
	}
	for i := range channels {
		has = append(has, map[string]any{"channel": i + 1, "rtsp_url": fmt.Sprintf("rtsp://192.0.2.1/%d", i+1)})
	}
	device["channels"] = has
	if err := owner.call(b.ctx, "POST", "/devices", device, nil); err != nil {
		return err
	}
	guest, err := s.account(b.ctx, "guest-of-saver")
	if err != nil {
		return err
	}
	var share struct{ ID string }
	if err := owner.call(b.ctx, "POST", "/shares", newShare(guest.login, "recorder"), &share); err != nil {
		return err
	}
	if err := guest.call(b.ctx, "POST", "/shares/"+share.ID+"/devices/recorder/accept", nil, nil); err != nil {
		return err
	}
	var took []time.Duration
	for i := range b.scaled(50) {
		body := map[string]any{"remark": "Neighbour", "devices": []any{map[string]any{"device": "recorder", "channels": grants([]string{"ptz", "live_view"}[:1+i%2]...)}}}
		began := time.Now()
		if err := owner.call(b.ctx, "PUT", "/shares/"+share.ID, body, nil); err != nil {
			return err
		}
		took = append(took, time.Since(began))
	}
	p50, p99 := percentile(took, 0.5), percentile(took, 0.99)
	b.add("save 200 channels", fmt.Sprintf("p50 %v, p99 %v", p50.Round(100*time.Microsecond), p99.Round(100*time.Microsecond)), "200 ms", p99.Seconds()/0.2, "at most 1")
	return nil
}

var perValidation = regexp.MustCompile(`BenchmarkValidate/(\S+?)(?:-\d+)?\s+\d+\s+([0-9.]+) ns/op`)

// validation takes what the API's own benchmark says of checking a request.
func validation(b *bench, _ *served) error {
	out, err := exec.CommandContext(b.ctx, "go", "test", "-run", "^$", "-bench", "^BenchmarkValidate$", "./api").CombinedOutput()
	if err != nil {
		return fmt.Errorf("measuring the validation: %w: %s", err, out)
	}
	found := perValidation.FindAllSubmatch(out, -1)
	if len(found) == 0 {
		return fmt.Errorf("measuring the validation: no figure in %s", out)
	}
	for _, f := range found {
		ns, err := strconv.ParseFloat(string(f[2]), 64)
		if err != nil {
			return err
		}
		b.add("validate: "+strings.ReplaceAll(string(f[1]), "_", " "), fmt.Sprintf("%.1f µs", ns/1000), "10 µs", ns/10_000, "at most 1")
	}
	return nil
}
