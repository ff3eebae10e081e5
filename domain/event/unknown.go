package event

import "errors"

// Prefix is the start of every event's type, so that a subscription can be filtered by
// it.
const Prefix = "latchkey."

// ErrUnknown is returned for an event type that this build cannot read, as a newer build
// may have written it. No reader skips such an event, as it may revoke something: the
// privilege index denies everything and revokes every permit, read models stop and report
// it, the journal of revocations and a replay of the history end with the error, and a
// command on its stream is refused.
var ErrUnknown = errors.New("unknown event type")
