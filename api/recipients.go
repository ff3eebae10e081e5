package api

import (
	"context"
	"strings"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"latchkey/api/internal/rest"
	"latchkey/domain/event"
	"latchkey/domain/privilege"
	"latchkey/projections"
)

// ListRecipients lists everybody with whom the caller has shared.
func (h handlers) ListRecipients(ctx context.Context, r rest.ListRecipientsRequestObject) (rest.ListRecipientsResponseObject, error) {
	var match projections.Match[projections.Recipient]
	if r.Params.Query != "" {
		s := h.searching(ctx, r.Params.Query)
		match = func(row projections.Recipient) (bool, error) {
			return s.finds(row.Kind, row.Recipient, row.Remark, event.FieldRemark)
		}
	}
	query := func(ctx context.Context, account string, p projections.Page) ([]projections.Recipient, string, error) {
		return h.cfg.Queries.Recipients(ctx, account, p, match)
	}
	rows, next, err := list(ctx, h, r.Params.LatchkeyMinPosition, page(r.Params.Limit, r.Params.Cursor), query)
	if err != nil {
		return nil, err
	}
	items, err := each(ctx, rows, h.recipientEntry)
	return rest.ListRecipients200JSONResponse{Items: items, Next: next}, err
}

// ListShareHistory lists the recipients of shares that the caller deleted.
func (h handlers) ListShareHistory(ctx context.Context, r rest.ListShareHistoryRequestObject) (rest.ListShareHistoryResponseObject, error) {
	var match projections.Match[projections.HistoryEntry]
	if r.Params.Query != "" {
		s := h.searching(ctx, r.Params.Query)
		match = func(row projections.HistoryEntry) (bool, error) {
			return s.finds(row.Kind, row.Recipient, row.Remark, event.FieldRemark)
		}
	}
	query := func(ctx context.Context, account string, p projections.Page) ([]projections.HistoryEntry, string, error) {
		return h.cfg.Queries.History(ctx, account, p, match)
	}
	rows, next, err := list(ctx, h, r.Params.LatchkeyMinPosition, page(r.Params.Limit, r.Params.Cursor), query)
	if err != nil {
		return nil, err
	}
	items, err := each(ctx, rows, h.history)
	return rest.ListShareHistory200JSONResponse{Items: items, Next: next}, err
}

// ForgetRecipient takes the recipient of a deleted share out of the caller's lists.
func (h handlers) ForgetRecipient(ctx context.Context, r rest.ForgetRecipientRequestObject) (rest.ForgetRecipientResponseObject, error) {
	result, err := h.cfg.Shares.Forget(ctx, meta(ctx, r.Params.IdempotencyKey), r.Recipient)
	return h.done(ctx, result, err)
}

// search looks for a text in what is sealed. Sealed text cannot be searched by the
// database: each row is opened.
type search struct {
	h      handlers
	ctx    context.Context
	text   string // folded
	number string // the same without what people write between digits
}

func (h handlers) searching(ctx context.Context, query string) search {
	return search{h, ctx, folded(query), withoutSeparators(query)}
}

// finds reports whether the address of a recipient, or the field with their remark or
// name, has the text. Text that was erased, or cannot be read, has none.
func (s search) finds(kind, address, other, field string) (bool, error) {
	text := s.h.reading(s.ctx)
	address, other = text.text(event.FieldRecipient, address), text.text(field, other)
	found := strings.Contains(folded(address), s.text) || strings.Contains(folded(other), s.text) ||
		kind == "phone" && s.number != "" && strings.Contains(address, s.number)
	return found, text.err
}

// folded returns a text as it is compared: in any case, and in any of its encodings.
func folded(s string) string { return cases.Fold().String(norm.NFKC.String(s)) }

// withoutSeparators returns a number, or a part of one, without separators; "" if it is
// neither.
func withoutSeparators(s string) string {
	number := strings.NewReplacer(" ", "", "-", "", "(", "", ")", "", "/", "", ".", "").Replace(s)
	if strings.Trim(number, "+0123456789") != "" {
		return ""
	}
	if abroad, ok := strings.CutPrefix(number, "00"); ok {
		return "+" + abroad
	}
	if len(number) > 3 { // a trunk prefix, which the international form does not have
		number = strings.TrimPrefix(number, "0")
	}
	return number
}

func (h handlers) recipientEntry(ctx context.Context, v projections.Recipient) (rest.RecipientEntry, error) {
	recipient, err := h.recipient(ctx, event.FieldRecipient, v.Kind, v.Recipient)
	if err != nil {
		return rest.RecipientEntry{}, err
	}
	text := h.reading(ctx)
	out := rest.RecipientEntry{
		ID: v.Share, Share: v.Share, Recipient: recipient, Remark: text.text(event.FieldRemark, v.Remark),
		UsedAt: v.UsedAt.Time(), DeletedAt: v.DeletedAt.Time(), Terms: privilege.Terms(v.Terms),
	}
	if v.DeletedAt == 0 {
		out.LiveDevices = len(v.Devices)
	}
	out.Unreadable = text.unreadable
	if text.err != nil {
		return rest.RecipientEntry{}, text.err
	}
	out.Devices, err = each(ctx, v.Devices, h.formDevice)
	return out, err
}

func (h handlers) history(ctx context.Context, v projections.HistoryEntry) (rest.HistoryEntry, error) {
	recipient, err := h.recipient(ctx, event.FieldRecipient, v.Kind, v.Recipient)
	if err != nil {
		return rest.HistoryEntry{}, err
	}
	text := h.reading(ctx)
	out := rest.HistoryEntry{ID: v.Share, Share: v.Share, Recipient: recipient, Remark: text.text(event.FieldRemark, v.Remark), DeletedAt: v.DeletedAt.Time(), Terms: privilege.Terms(v.Terms)}
	out.Unreadable = text.unreadable
	if text.err != nil {
		return rest.HistoryEntry{}, text.err
	}
	out.Devices, err = each(ctx, v.Devices, h.formDevice)
	return out, err
}

func (h handlers) formDevice(ctx context.Context, v projections.RecipientDevice) (rest.FormDevice, error) {
	text := h.reading(ctx)
	out := rest.FormDevice{Device: v.Device, Name: text.text(event.FieldDevice, v.Name), Channels: h.channelGrants(ctx, v.Grants), Terms: privilege.Terms(v.Terms)}
	out.Unreadable = text.unreadable
	return out, text.err
}
