// Package event defines what every stored event must say about itself: its type, whom
// it concerns, what it does to privileges, what it revokes, its personal texts and a
// sentence for auditors. The compiler asks each event for all of it, so that no reader
// keeps a list of events of its own that somebody could forget to extend.
//
// The events are in the packages of their aggregates, next to the decisions that make
// them; package catalogue lists them all.
package event

// Event is something that happened and is stored for ever.
type Event interface {
	// Type returns the frozen name under which the event is stored. It does not depend
	// on the fields.
	Type() string
	// Subjects returns whom and what the event concerns.
	Subjects() Subjects
	// Effect returns what the event does to privileges, NoEffect if nothing. Its Kind
	// does not depend on the fields.
	Effect() Effect
	// Revokes returns what the event takes away, NoRevocation if nothing. Its Kind does
	// not depend on the fields; the id of the event is left out.
	Revokes() Revocation
	// Texts returns the event with each of its personal texts replaced by what change
	// returns for the text's field and its sealed form. An event without such texts
	// returns itself.
	Texts(change ChangeText) Event
	// Sentence says in words what happened, for auditors. Identifiers stand as they
	// are, so that they can be searched for.
	Sentence() string
}

// ChangeText returns what replaces a sealed text.
type ChangeText func(field, sealed string) string

// The kinds of fields with personal text, to which sealed text is bound. They are
// frozen: what was sealed for one opens for no other.
const (
	FieldAddress   = "account address"
	FieldName      = "account name"
	FieldLabel     = "stream key label"
	FieldDevice    = "device name"
	FieldChannel   = "channel name"
	FieldRecipient = "share recipient"
	FieldRemark    = "share remark"
)

// Subjects are whom and what an event concerns, by id. Fields that do not apply are
// "". Logins are keyed hashes of addresses.
type Subjects struct {
	Owner     string // account
	Recipient string // account of the person whom something is shared with, once known
	Login     string
	Share     string
	Device    string
}

// Concerns reports whether an account is one of the subjects.
func (s Subjects) Concerns(account string) bool {
	return account != "" && (account == s.Owner || account == s.Recipient)
}
