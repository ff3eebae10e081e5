package api

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"latchkey/internal/app"
	"latchkey/internal/hashing"
)

// memoryVault stands for the vault: it hides nothing, but each of its methods
// behaves as the vault's does.
type memoryVault struct {
	mu        sync.Mutex
	passwords map[string]string
	sessions  map[string]string
	applied   map[string]string // account: login
	forgotten map[string]bool
	lost      map[string]bool // subjects whose key is missing
	cameras   map[string]app.Camera
	secrets   map[string]string
	verified  int // how often a password was checked
	fail      error
	queue     *hashing.Queue // nil: a hash takes no time
}

// hashTakes is how long a hash takes where there is a queue.
const hashTakes = 40 * time.Millisecond

func (v *memoryVault) hash(ctx context.Context) error {
	if v.queue == nil {
		return nil
	}
	return v.queue.Do(ctx, func() { time.Sleep(hashTakes) })
}

func newMemoryVault() *memoryVault {
	return &memoryVault{passwords: map[string]string{}, sessions: map[string]string{}, forgotten: map[string]bool{}, lost: map[string]bool{}, cameras: map[string]app.Camera{}, secrets: map[string]string{}}
}

func (v *memoryVault) LoginHash(kind, address string) string {
	h := sha256.Sum256([]byte(kind + "\x00" + address))
	return hex.EncodeToString(h[:16])
}

func (v *memoryVault) Seal(_ context.Context, subject, field, plain string) (string, error) {
	if plain == "" {
		return "", nil
	}
	return subject + ":" + base64.RawURLEncoding.EncodeToString([]byte(field+"\x00"+plain)), nil
}

func (v *memoryVault) Unseal(_ context.Context, field, sealed string) (string, error) {
	if sealed == "" {
		return "", nil
	}
	subject, text, _ := strings.Cut(sealed, ":")
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.forgotten[subject] {
		return "", ErrForgotten
	}
	if v.lost[subject] {
		return "", ErrUnreadable
	}
	raw, err := base64.RawURLEncoding.DecodeString(text)
	plain, bound := strings.CutPrefix(string(raw), field+"\x00")
	if !bound {
		return "", errors.Join(err, fmt.Errorf("%q is no text of a %s", raw, field))
	}
	return plain, err
}

func (v *memoryVault) Keep() (version uint64, until time.Time) { return 0, noon.AddDate(100, 0, 0) }

func (v *memoryVault) SetPassword(ctx context.Context, account, password string) error {
	if err := v.hash(ctx); err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.passwords[account] = password
	return nil
}

func (v *memoryVault) VerifyPassword(ctx context.Context, account, password string) (bool, error) {
	if err := v.hash(ctx); err != nil {
		return false, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.verified++
	known, ok := v.passwords[account]
	return ok && known == password, v.fail
}

func (v *memoryVault) LogIn(ctx context.Context, who app.Candidates, password string, _ app.NewSession) (account, token string, right bool, err error) {
	account = who.Account
	right, err = v.VerifyPassword(ctx, account, password)
	v.mu.Lock()
	defer v.mu.Unlock()
	for id, login := range v.applied {
		if login == who.Applied && !right && v.passwords[id] == password {
			account, right = id, true
		}
	}
	if err != nil || !right || account == "" {
		return "", "", false, err
	}
	return account, v.newSession(account), true, nil
}

func (v *memoryVault) Apply(ctx context.Context, account, login, password string) error {
	if err := v.SetPassword(ctx, account, password); err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.applied == nil {
		v.applied = map[string]string{}
	}
	v.applied[account] = login
	return nil
}

func (v *memoryVault) EndApplications(_ context.Context, login string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	maps.DeleteFunc(v.applied, func(_, of string) bool { return of == login })
	return nil
}

func (v *memoryVault) newSession(account string) string {
	token := rand.Text()
	v.sessions[token] = account
	return token
}

// memoryChange is an app.PasswordChange.
type memoryChange struct {
	vault               *memoryVault
	account, held, next string
}

func (v *memoryVault) PreparePassword(ctx context.Context, account, current, next string) (app.PasswordChange, error) {
	right, err := v.VerifyPassword(ctx, account, current)
	if err != nil || !right {
		return nil, err
	}
	return memoryChange{v, account, current, next}, nil
}

func (v *memoryVault) PrepareReset(_ context.Context, account, next string) (app.PasswordChange, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return memoryChange{v, account, v.passwords[account], next}, v.fail
}

func (v *memoryVault) NewCode(_ context.Context, purpose string, _ int, _ time.Duration, _ int) (string, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.secrets["code "+purpose] = "12345678"
	return "12345678", v.fail
}

func (v *memoryVault) UseCode(_ context.Context, purpose, code string) (bool, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	right := code != "" && v.secrets["code "+purpose] == code
	if right {
		delete(v.secrets, "code "+purpose)
	}
	return right, v.fail
}

func (v *memoryVault) DropCode(context.Context, string) error { return nil }

// Send implements app.Messenger: nobody reads it.
func (v *memoryVault) Send(context.Context, app.Notice) error { return nil }

func (c memoryChange) Commit(_ context.Context, s *app.NewSession) (string, error) {
	v := c.vault
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.passwords[c.account] != c.held {
		return "", app.ErrPasswordChanged
	}
	v.passwords[c.account] = c.next
	maps.DeleteFunc(v.sessions, func(_, of string) bool { return of == c.account })
	if s == nil {
		return "", nil
	}
	return v.newSession(c.account), nil
}

func (v *memoryVault) SessionsOf(_ context.Context, account, token, _ string) (list []SessionView, _ error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for t, of := range v.sessions {
		if of == account {
			list = append(list, SessionView{ID: "id-" + t, Created: noon, Used: noon, Expires: noon.Add(time.Hour), Current: t == token})
		}
	}
	return list, v.fail
}

func (v *memoryVault) EndSessionOf(_ context.Context, account, id string) (bool, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	token := strings.TrimPrefix(id, "id-")
	mine := v.sessions[token] == account
	if mine {
		delete(v.sessions, token)
	}
	return mine, v.fail
}

func (v *memoryVault) EndOtherSessions(_ context.Context, account, token string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	maps.DeleteFunc(v.sessions, func(t, of string) bool { return of == account && t != token })
	return v.fail
}

func (v *memoryVault) Session(_ context.Context, token string) (string, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.fail != nil {
		return "", v.fail
	}
	account, ok := v.sessions[token]
	if !ok {
		return "", fmt.Errorf("looking up a session: %w", ErrNoSession)
	}
	return account, nil
}

func (v *memoryVault) EndSession(_ context.Context, token string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.sessions, token)
	return nil
}

func (v *memoryVault) checks() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.verified
}

func (v *memoryVault) forget(subject string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.forgotten[subject] = true
}

func (v *memoryVault) lose(subject string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.lost[subject] = true
}

func (v *memoryVault) SetCamera(_ context.Context, device string, c app.Camera) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.cameras[device] = c
	return nil
}

func (v *memoryVault) HasCamera(_ context.Context, device string) (bool, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	_, has := v.cameras[device]
	return has, nil
}

func (v *memoryVault) Camera(_ context.Context, device string) (app.Camera, bool, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	c, found := v.cameras[device]
	return c, found, nil
}

func (v *memoryVault) StageCamera(ctx context.Context, device, command string, c app.Camera) error {
	return v.SetCamera(ctx, device+" "+command, c)
}

func (v *memoryVault) ConfirmCamera(_ context.Context, device, command string) (bool, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	c, staged := v.cameras[device+" "+command]
	if staged {
		v.cameras[device] = c
		delete(v.cameras, device+" "+command)
	}
	return staged, nil
}

func (v *memoryVault) DropStaged(ctx context.Context, device, command string) error {
	return v.ForgetCamera(ctx, device+" "+command)
}

func (v *memoryVault) VoidPassword(_ context.Context, account string) (bool, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	_, has := v.passwords[account]
	if has {
		v.passwords[account] = "\x00void"
	}
	return has, nil
}

func (v *memoryVault) HasPassword(_ context.Context, account string) (bool, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	_, has := v.passwords[account]
	return has, nil
}

// Knows: everybody is known, until somebody is forgotten, and then on purpose.
func (v *memoryVault) Knows(context.Context, string) (bool, error) { return true, nil }

func (v *memoryVault) Erased(_ context.Context, subject string) (bool, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.forgotten[subject], nil
}

func (v *memoryVault) ForgetCamera(_ context.Context, device string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.cameras, device)
	return nil
}

func (v *memoryVault) SetStreamSecret(_ context.Context, key, secret string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.secrets[key] = secret
	return nil
}

func (v *memoryVault) StreamSecret(_ context.Context, key string) (string, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	secret, ok := v.secrets[key]
	if !ok {
		return "", fmt.Errorf("the secret of %s is not known", key)
	}
	return secret, nil
}

func (v *memoryVault) ForgetStreamSecret(_ context.Context, key string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.secrets, key)
	return nil
}
