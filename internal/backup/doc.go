// Package backup writes one archive of everything that cannot be rebuilt (the log, the
// vault and its key), restores it into an empty folder, and repeats later revocations
// from the journal of revocations.
//
// Read models are not included: they are rebuilt from the log. Finding and opening the
// stores belongs in cmd/latchkey, the meaning of a revocation in domain; the rules on
// epochs and marks are those of decisions 0007 and 0012.
package backup
