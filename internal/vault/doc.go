// Package vault keeps data that must be erasable or must never be in the log: password
// hashes, session tokens, camera addresses and credentials, the secrets of stream keys,
// and the keys with which personal text in the log is sealed.
//
// Everything here is overwritten or deleted in place, unlike the log. Secrets are
// encrypted with a key that a MasterKey wraps; what only has to be recognised (passwords,
// session tokens) is hashed. Rules about sharing do not belong here.
package vault
