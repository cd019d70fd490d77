/* broker/roam.h - sessions that come from other machines and go there (commit/roaming.h)
 *
 *     CONNECT --> roam_ask() ... answered --> claim_session(): local, or made from the passport
 *     row saved --> roam_saved() --> the cluster's copy          session ends --> roam_ended()
 *     another machine takes it --> connection closed (0x8E) --> last row given --> forgotten here
 *
 * Each session has the owner number of its last CONNECT; one that another machine has taken meanwhile
 * is found out by it and dropped, when its row is refused or its client comes back. One that was made or
 * gone on with while the cluster was out of reach is claimed afterwards: the later CONNECT of the
 * client has it, what other machines have of it ends (0x8E), and is logged. Without a cluster
 * nothing here does anything.
 *
 * Threads: the session's worker, but for roam_host().
 */
#ifndef BROKER_ROAM_H
#define BROKER_ROAM_H

#include "broker/session.h"
#include "broker/worker.h"
#include "commit/roaming.h"

struct client;
struct connect_request;
struct row;
struct roam_ask;

void roam_worker_init(struct broker_worker *w);
void roam_worker_fini(struct broker_worker *w);

/* Asks the cluster for the session of this key (flags: enum roaming_flag); on_answer(client) comes on the client's worker unless
 * roam_forget() comes first. NULL: there is no cluster. */
struct roam_ask *roam_ask(
	struct client *c, struct view key, unsigned flags, void (*on_answer)(struct client *c));
/* The answer, or the waiting for it, is not needed any more. NULL: nothing. */
void roam_forget(struct roam_ask *ask);

/* The cluster could not be asked: what a client left elsewhere is not known, and a new session in its
 * place would lose it. */
bool roam_is_unknown(const struct roam_ask *ask);

/* By the answer: the session is that of a client at another address, which alone may have it. */
bool roam_is_refused(const struct roam_ask *ask);

/* By the answer: another machine has had the session since this one did. */
bool roam_is_stale(const struct roam_ask *ask, const struct session *s);
/* Fills a session that was just made (offline) with what the other machine left; false: there is
 * nothing, or it cannot be read. */
bool roam_fill(const struct roam_ask *ask, struct session *s);
/* From now on it is this machine's, under the number of the answer; without one it is claimed. */
void roam_own(struct roam_ask *ask, struct session *s);

/* Its row has changed. */
void roam_saved(struct session *s, const struct row *row);
/* It ends here for good. */
void roam_ended(struct session *s);
/* All rows up to this worker's mark are saved. */
void roam_checkpoint(struct broker_worker *w);

/* Looked at while the session is not live: has it had this record elsewhere? */
struct journal_entry;
bool roam_has_had(const struct session *s, const struct journal_entry *e);

#endif
