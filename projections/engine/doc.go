// Package engine keeps read models up to date from the log. It holds what they
// share: the database (store, session, migrate), how rows are folded and written
// (table, fold, writer), how events arrive and checkpoints move (runner, feed,
// projector, checkpoint), how a read model is made again (rebuild, check), how
// queries see one state of it (page, progress), and how all of that is doing
// (health, status).
//
// It knows no read model: a Projection says which tables it has, which events it
// reads and what these do to its rows, and the list of them is handed to Open. It
// knows no event either: a Reducer gets Records, which carry the decoded event and
// all that the log has of it.
package engine
