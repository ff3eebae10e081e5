// Package engine keeps read models up to date from the log. It has what they share: the
// database (store, session, migrate), how rows are folded and written (table, fold,
// writer), how events arrive and checkpoints advance (runner, feed, projector,
// checkpoint), how a read model is rebuilt (rebuild, check), how queries see one state of
// it (page, progress), and how to monitor it (health, status).
//
// It does not depend on any read model: a Projection declares its tables, the events it
// reads and their effect on its rows, and the list of projections is passed to Open. Nor
// does it depend on any event: a Reducer gets Records, which have the decoded event and
// its data in the log.
package engine
