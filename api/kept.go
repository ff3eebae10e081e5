package api

import (
	"bytes"
	linked "container/list"
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"sync"
	"time"

	"latchkey/api/internal/rest"
	"latchkey/internal/position"
	"latchkey/projections"
)

// A page of shares is rendered once and kept: opening its sealed text and encoding it
// takes a hundred times longer than sending it. A kept page is sent only if making it
// again would give the same bytes, which each request proves (see decision 0034):
//
//   - the rows: the read models have seen the position that a query would have to see, and
//     nothing that may concern the account since the page was made;
//   - the opened text: nothing was forgotten since, and the keys are still cached;
//   - the clock: no condition of the page has begun or ended;
//   - the account is part of the page's key. Sessions are not: they are checked before.
//
// Pages with unreadable text are not kept, as it may be readable at any time.

const (
	// keptBytes is the approximate size of all kept pages, and keptOfOne that of those of
	// one account.
	keptBytes = 16 << 20
	keptOfOne = 2 << 20
	// keptOverhead is the approximate size of a page without its body and key.
	keptOverhead = 512
)

// keptPage is a rendered page.
type keptPage struct {
	account, key string
	body         []byte
	seen         projections.Seen // of the read models, in the state of its rows
	texts        uint64           // version of opened text
	made, until  time.Time        // the page is right from made to until
}

func (p *keptPage) size() int { return len(p.body) + len(p.key) + keptOverhead }

// keptPages are those used last, within the bounds.
type keptPages struct {
	mu    sync.Mutex
	texts uint64                     // version of opened text: all pages have it
	of    map[string]*linked.Element // by key
	order *linked.List               // the page used last is the first
	size  int
	by    map[string]int // size, by account
}

func newKeptPages() *keptPages {
	return &keptPages{of: map[string]*linked.Element{}, order: linked.New(), by: map[string]int{}}
}

// get returns a page if the clock and the version of opened text permit, or nil.
func (k *keptPages) get(key string, texts uint64, now time.Time) *keptPage {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.renew(texts)
	e := k.of[key]
	if e == nil {
		return nil
	}
	p := e.Value.(*keptPage)
	if now.Before(p.made) || !now.Before(p.until) {
		k.drop(e)
		return nil
	}
	k.order.MoveToFront(e)
	return p
}

// put keeps a page, and drops those used least recently if there are too many.
func (k *keptPages) put(p *keptPage, texts uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.renew(texts)
	if e := k.of[p.key]; e != nil {
		k.drop(e)
	}
	if p.texts != texts || p.size() > keptOfOne {
		return
	}
	k.of[p.key] = k.order.PushFront(p)
	k.size += p.size()
	k.by[p.account] += p.size()
	for e := k.order.Back(); e != nil && k.by[p.account] > keptOfOne; {
		before := e.Prev()
		if e.Value.(*keptPage).account == p.account {
			k.drop(e)
		}
		e = before
	}
	for k.size > keptBytes {
		k.drop(k.order.Back())
	}
}

// forget drops the pages whose text was forgotten: it must not stay in memory until
// somebody asks for a list.
func (k *keptPages) forget(texts uint64, _ time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.renew(texts)
}

// renew drops every page when opened text must not be kept. The caller holds mu.
func (k *keptPages) renew(texts uint64) {
	if k.texts != texts {
		k.texts, k.size = texts, 0
		clear(k.of)
		clear(k.by)
		k.order.Init()
	}
}

// drop forgets a page. The caller holds mu.
func (k *keptPages) drop(e *linked.Element) {
	p := k.order.Remove(e).(*keptPage)
	delete(k.of, p.key)
	k.size -= p.size()
	if k.by[p.account] -= p.size(); k.by[p.account] == 0 {
		delete(k.by, p.account)
	}
}

// shareQuery reads a page of an account's shares.
type shareQuery func(ctx context.Context, account string, p projections.Page) ([]projections.Share, string, error)

// sharePage returns a page of the caller's shares, a kept one if it is still right. name
// names the list.
func (h handlers) sharePage(ctx context.Context, name, minimum string, p projections.Page, query shareQuery) (renderedPage, error) {
	page := &keptPage{account: caller(ctx), key: caller(ctx) + "\x00" + name + "\x00" + strconv.Itoa(p.Limit) + "\x00" + p.Cursor}
	var rows []projections.Share
	var out rest.ShareList
	err := h.read(ctx, minimum, func(atLeast position.Position) (err error) {
		if page.body, err = h.keptBody(ctx, page.key, atLeast); err != nil || page.body != nil {
			return err
		}
		answer := requestOf(ctx).answer
		if err := answer.takeTurn(ctx); err != nil {
			return err
		}
		// Another request may have made it meanwhile.
		if page.body, err = h.keptBody(ctx, page.key, atLeast); err == nil && page.body == nil {
			page.made = h.cfg.Now()
			page.texts, page.until = h.cfg.Opener.Keep()
			p.AtLeast, p.Seen = atLeast, &page.seen
			rows, out.Next, err = query(ctx, caller(ctx), p)
		}
		if err != nil || page.body != nil {
			answer.unmade()
		}
		return err
	})
	if err != nil || page.body != nil {
		return page.body, err
	}
	if err := requestOf(ctx).answer.render(ctx); err != nil {
		return nil, err
	}
	if out.Items, err = each(ctx, rows, h.share); err != nil {
		return nil, err
	}
	var body bytes.Buffer
	if err := json.NewEncoder(&body).Encode(out); err != nil {
		return nil, internal(err)
	}
	page.body = body.Bytes()
	h.keep(ctx, page)
	return page.body, nil
}

// keptBody returns a kept page that a query which must see a position would return now,
// or nil.
func (h handlers) keptBody(ctx context.Context, key string, atLeast position.Position) ([]byte, error) {
	texts, _ := h.cfg.Opener.Keep()
	page := h.kept.get(key, texts, h.cfg.Now())
	if page == nil {
		return nil, nil
	}
	same, err := h.cfg.Progress.Unchanged(ctx, page.seen, page.account, atLeast)
	if err != nil || !same {
		return nil, err
	}
	return page.body, nil
}

// keep keeps a page that was just rendered, if it can be proven later that it is right.
func (h handlers) keep(ctx context.Context, page *keptPage) {
	req := requestOf(ctx)
	if !page.seen.Known() || req.unreadable {
		return
	}
	if req.until != 0 {
		if end := time.Unix(0, req.until); end.Before(page.until) {
			page.until = end
		}
	}
	texts, _ := h.cfg.Opener.Keep()
	h.kept.put(page, texts)
}

// renderedPage is the JSON text of a page.
type renderedPage []byte

// VisitListSentSharesResponse writes it.
func (p renderedPage) VisitListSentSharesResponse(w http.ResponseWriter) error { return p.write(w) }

// VisitListReceivedSharesResponse writes it.
func (p renderedPage) VisitListReceivedSharesResponse(w http.ResponseWriter) error {
	return p.write(w)
}

func (p renderedPage) write(w http.ResponseWriter) error {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(p)))
	w.WriteHeader(http.StatusOK)
	_, err := w.Write(p)
	return err
}
