package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"sync"
	"time"
)

// namesOfAKind is how many numbers that have an account, and as many that have none, are
// compared.
const namesOfAKind = 60

// benchNames compares how long requests take that name somebody who has an account with
// those that name somebody who has none: known and unknown names in turns, in random
// order. A code is sent to each address a few times an hour only, so there are many; a
// proxy says that each request comes from another network.
func benchNames(b *bench) error {
	texts := newTexts()
	defer texts.Close()
	s, err := startServe(b, "", "names", "VERIFICATION=required", "TRUSTED_PROXIES=127.0.0.0/8", "SMS_HOOK="+texts.URL, "SMS_HOOK_SECRET=a secret of the bench")
	if err != nil {
		return err
	}
	defer s.stop()
	n := &names{bench: b, served: s, texts: texts, client: &http.Client{}}
	for i := range max(8, b.scaled(namesOfAKind)) {
		known, unknown := fmt.Sprintf("+4915110%06d", i), fmt.Sprintf("+4915111%06d", i)
		if _, err := n.verified(known); err != nil {
			return err
		}
		n.pairs = append(n.pairs, [2]string{known, unknown})
	}
	if n.owner, err = n.verified("+4915112000000"); err != nil {
		return err
	}
	if n.adder, err = n.verified("+4915112000001"); err != nil {
		return err
	}
	return n.compare()
}

// names compares known and unknown ones.
type names struct {
	*bench
	*served
	texts        *texts
	client       *http.Client
	pairs        [][2]string // one that has an account, one that has none
	owner, adder *account
}

const namePassword = "a password of four words"

// from is a caller from another network.
func (n *names) from(who *account) *account {
	a := &account{api: n.api + "/api/v1", client: n.client}
	if who != nil {
		a.token = who.token
	}
	a.from = fmt.Sprintf("10.%d.%d.%d", rand.IntN(256), rand.IntN(256), rand.IntN(256))
	return a
}

// verified makes an account that has proven its number.
func (n *names) verified(number string) (*account, error) {
	a := n.from(nil)
	if err := a.call(n.ctx, "POST", "/accounts", map[string]any{"phone": number, "password": namePassword, "name": "Bench"}, nil); err != nil {
		return nil, err
	}
	var session struct{ Token string }
	if err := a.call(n.ctx, "POST", "/sessions", map[string]any{"login": number, "password": namePassword}, &session); err != nil {
		return nil, err
	}
	a.token = session.Token
	var list struct{ Items []struct{ ID string } }
	if err := a.call(n.ctx, "GET", "/accounts/me/addresses", nil, &list); err != nil {
		return nil, err
	}
	code, err := n.texts.code(number)
	if err != nil {
		return nil, err
	}
	return a, a.call(n.ctx, "POST", "/accounts/me/addresses/"+list.Items[0].ID+"/verify", map[string]any{"code": code}, nil)
}

// compare measures each kind of request that names somebody.
func (n *names) compare() error {
	refused := func(err error) error { // it must be, with 401 or 403
		if err == nil {
			return errors.New("a wrong password was right")
		}
		if !regexp.MustCompile(`: 40[13] `).MatchString(err.Error()) {
			return err
		}
		return nil
	}
	wrong := func(number string) error {
		return refused(n.from(nil).call(n.ctx, "POST", "/sessions", map[string]any{"login": number, "password": "not the password"}, nil))
	}
	device := "names"
	if err := n.from(n.owner).call(n.ctx, "POST", "/devices", newDevice(device), nil); err != nil {
		return err
	}
	for _, step := range []struct {
		name  string
		times int // each name
		call  func(number string) (time.Duration, error)
	}{
		{"log-in, wrong password", 8, timed(wrong)},
		{"forgotten password", 4, n.forgotten},
		{"forgotten password, wrong code", 4, timed(func(number string) error {
			return refused(n.from(nil).call(n.ctx, "POST", "/password-resets/confirm", map[string]any{"login": number, "code": "00000000", "new_password": "another long password"}, nil))
		})},
		{"invitation", 4, n.invite(device)},
		{"adding an address", 2, n.add},
		{"registration", 2, timed(func(number string) error {
			return n.from(nil).call(n.ctx, "POST", "/accounts", map[string]any{"phone": number, "password": "mallorys password", "name": "Mallory"}, nil)
		})},
		{"log-in to what was registered", 4, timed(func(number string) error {
			return n.from(nil).call(n.ctx, "POST", "/sessions", map[string]any{"login": number, "password": "mallorys password"}, nil)
		})},
		{"log-in after it, wrong password", 4, timed(wrong)},
	} {
		var took [2][]time.Duration
		for range step.times {
			for _, i := range rand.Perm(2 * len(n.pairs)) {
				d, err := step.call(n.pairs[i/2][i%2])
				if err != nil {
					return fmt.Errorf("%s: %w", step.name, err)
				}
				took[i%2] = append(took[i%2], d)
			}
		}
		n.row(step.name, took)
	}
	return nil
}

func timed(call func(number string) error) func(string) (time.Duration, error) {
	return func(number string) (time.Duration, error) {
		began := time.Now()
		err := call(number)
		return time.Since(began), err
	}
}

// forgotten asks for a code. The answer comes before the work, of which only so much may
// wait.
func (n *names) forgotten(number string) (time.Duration, error) {
	time.Sleep(20 * time.Millisecond)
	return timed(func(number string) error {
		return n.from(nil).call(n.ctx, "POST", "/password-resets", map[string]any{"login": number}, nil)
	})(number)
}

// invite shares a device, and takes it back untimed.
func (n *names) invite(device string) func(string) (time.Duration, error) {
	return func(number string) (time.Duration, error) {
		body := newShare("", device)
		body["recipient"] = map[string]any{"phone": number}
		var share struct{ ID string }
		who := n.from(n.owner)
		began := time.Now()
		err := who.call(n.ctx, "POST", "/shares", body, &share)
		took := time.Since(began)
		return took, errors.Join(err, who.call(n.ctx, "DELETE", "/shares/"+share.ID, nil, nil))
	}
}

// add adds an address to an account, and removes it untimed.
func (n *names) add(number string) (time.Duration, error) {
	who := n.from(n.adder)
	var added struct{ ID string }
	began := time.Now()
	err := who.call(n.ctx, "POST", "/accounts/me/addresses", map[string]any{"phone": number}, &added)
	took := time.Since(began)
	return took, errors.Join(err, who.call(n.ctx, "DELETE", "/accounts/me/addresses/"+added.ID, nil, nil))
}

// row says how well the times of the known names can be told from those of the unknown
// ones: the chance that one of the first took longer than one of the second is 0.5 if not
// at all, and p is how likely a difference as large is by chance alone (Mann and Whitney).
func (n *names) row(name string, took [2][]time.Duration) {
	chance, p := mannWhitney(took[0], took[1])
	known, unknown := percentile(took[0], 0.5), percentile(took[1], 0.5)
	n.bench.add("known or not: "+name, fmt.Sprintf("p50 %v, n %d", known.Round(10*time.Microsecond), len(took[0])),
		fmt.Sprintf("unknown %v; slower with chance %.2f, p %.2f", unknown.Round(10*time.Microsecond), chance, p), known.Seconds()/unknown.Seconds(), "about 1")
}

// mannWhitney returns the chance that one of a is larger than one of b, ties half, and the
// p-value of the two-sided test by the normal approximation.
func mannWhitney(a, b []time.Duration) (chance, p float64) {
	type sample struct {
		took  time.Duration
		first bool
	}
	var all []sample
	for _, d := range a {
		all = append(all, sample{d, true})
	}
	for _, d := range b {
		all = append(all, sample{d, false})
	}
	slices.SortFunc(all, func(x, y sample) int { return int(x.took - y.took) })
	rank := 0.0
	for i := 0; i < len(all); {
		end := i + 1
		for end < len(all) && all[end].took == all[i].took {
			end++
		}
		for k := i; k < end; k++ {
			if all[k].first {
				rank += float64(i+1+end) / 2 // the mean of the ranks of equal ones
			}
		}
		i = end
	}
	na, nb := float64(len(a)), float64(len(b))
	u := rank - na*(na+1)/2
	z := (u - na*nb/2) / math.Sqrt(na*nb*(na+nb+1)/12)
	return u / (na * nb), math.Erfc(math.Abs(z) / math.Sqrt2)
}

// texts takes text messages.
type texts struct {
	*httptest.Server
	mu    sync.Mutex
	codes map[string]string // by number
}

var codeInText = regexp.MustCompile(`\b[0-9]{8}\b`)

func newTexts() *texts {
	t := &texts{codes: map[string]string{}}
	t.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var m struct{ To, Text string }
		if json.NewDecoder(r.Body).Decode(&m) != nil {
			return
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		if code := codeInText.FindString(m.Text); code != "" {
			t.codes[m.To] = code
		}
	}))
	return t
}

// code waits for the code that is sent to a number.
func (t *texts) code(number string) (string, error) {
	for until := time.Now().Add(10 * time.Second); time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
		t.mu.Lock()
		code := t.codes[number]
		t.mu.Unlock()
		if code != "" {
			return code, nil
		}
	}
	return "", fmt.Errorf("no code came for %s", number)
}
