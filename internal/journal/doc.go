// Package journal keeps the journal of revocations: a small file, separate from the log,
// with the ids of everything that was ever revoked. A revocation is in it, synced, before
// its command returns, so that a restored log can be made to deny what it denied before.
//
// The file is written by one process and only grows, except for the mark at its end,
// which records how far the log was read. A line that ends with a newline was synced
// before it got it. Using the entries belongs in the callers; what an event revokes, in
// domain.
package journal
