// Package backup makes one archive of everything that cannot be made again (the
// log, the vault and its key), restores it into an empty folder, and repeats
// what was taken away since, from the journal of revocations.
//
// Read models are left out: they are made from the log again. How the stores are
// found and opened belongs in cmd/latchkey, what a revocation is in domain, and
// the rules on epochs and marks are those of decisions 0007 and 0012.
package backup
