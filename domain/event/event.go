// Package event defines what every stored event must declare: its type, whom it concerns,
// what it does to privileges, what it revokes, its personal texts and a sentence for
// auditors. The compiler requires all of it from each event, so that no reader keeps its
// own list of events that somebody could forget to extend.
//
// The events are in the packages of their aggregates, next to the decisions that produce
// them; package catalogue lists them all.
package event

// Event is something that happened and is stored for ever.
type Event interface {
	// Type returns the frozen name under which the event is stored. It does not depend
	// on the fields.
	Type() string
	// Subjects returns whom and what the event concerns.
	Subjects() Subjects
	// Effect returns what the event does to privileges, or NoEffect. Its Kind does not
	// depend on the fields.
	Effect() Effect
	// Revokes returns what the event revokes, or NoRevocation. Its Kind does not depend
	// on the fields; the event's id is not set.
	Revokes() Revocation
	// Texts returns the event with each of its personal texts replaced by the result of
	// change for the text's field and its sealed form. An event without such texts
	// returns itself.
	Texts(change ChangeText) Event
	// Sentence describes in words what happened, for auditors. Identifiers are unchanged,
	// so that they can be searched for.
	Sentence() string
}

// ChangeText returns the replacement for a sealed text.
type ChangeText func(field, sealed string) string

// The kinds of fields with personal text, to which sealed text is bound. They are frozen:
// text sealed for one cannot be opened for another.
const (
	FieldAddress   = "account address"
	FieldName      = "account name"
	FieldLabel     = "stream key label"
	FieldDevice    = "device name"
	FieldChannel   = "channel name"
	FieldRecipient = "share recipient"
	FieldRemark    = "share remark"
	FieldUserName  = "account user name"
	FieldMessage   = "access request message"
)

// Subjects are the people and things that an event concerns, by id. Fields that do not
// apply are "". Logins are keyed hashes of addresses.
type Subjects struct {
	Owner     string // account
	Recipient string // account of the recipient, once known
	Login     string
	Share     string
	Device    string
}

// Concerns reports whether an account is one of the subjects.
func (s Subjects) Concerns(account string) bool {
	return account != "" && (account == s.Owner || account == s.Recipient)
}
