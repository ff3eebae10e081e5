// Package journal keeps the journal of revocations: a small file apart from the
// log, with ids of everything that was ever taken away. A revocation
// is in it, synced, before its command is answered, so that a restored log can be
// made to deny what it denied before.
//
// The file is written by one process and only grows, except for the mark at its
// end, which says how far the log was looked at. A line that ends with a newline
// was synced before it got it. What is done with the entries
// belongs in the callers; what an event takes away, in domain.
package journal
