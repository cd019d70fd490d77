/* broker/will.h - what a client wants published when its connection ends without a word
 *
 *     CONNECT --will_new--> request --will_connected--> session->will
 *                                                         |  DISCONNECT 0x00: will_free
 *     connection ends otherwise: will_disconnected -------+
 *         delay 0 ------------------------------> published
 *         else, waits offline: delay over --------> published
 *                              session ends ------> published (will_session_ended)
 *                              client comes back -> forgotten (will_connected)
 *
 * Sources: MQTT 3.1.1, 3.1.2.5; MQTT 5, 3.1.2.5 and 3.1.3.2. A will is published like a PUBLISH of
 * the client: the account's write rights and the gate judge it, as they are then; what they refuse
 * is logged and counted. While the journal takes nothing it waits at the worker. A session's row in
 * the store holds the will, so that the delay goes on over a restart, and a crash of this process is
 * to a lasting session the loss of a connection.
 *
 * In a cluster it is the cluster that keeps the wills of connected clients, those of sessions that do not last
 * as well (commit/roaming.h): after this process' end they are published by whichever machine it gives
 * them to, and those in this store's rows count no more. Each has an identifier of its own, which is
 * that of the message outside the WIS2 trees, so that the shared log takes it once.
 *
 * Threads: the session's worker.
 */
#ifndef BROKER_WILL_H
#define BROKER_WILL_H

#include "base/buf.h"
#include "base/list.h"
#include "base/view.h"
#include "commit/commit.h"
#include "mqtt/packet.h"

struct broker_worker;
struct roaming_will;
struct session;
struct will;

/* Part of struct broker_worker. */
struct wills {
	struct commit_owner owner;
	struct commit_waiter waiter;
	struct list waiting;   /* the journal took none of these yet */
	struct list submitted; /* it took these; in the order in which on_done comes */
};
void wills_init(struct broker_worker *w);
/* What waits is lost, and logged. */
void wills_fini(struct broker_worker *w);

/* A copy; its size is bounded by that of a CONNECT. */
struct will *will_new(const struct mqtt_will *m);
/* Forgets *will (NULL: harmless), which becomes NULL. Not while its delay runs. */
void will_free(struct will **will);

/* The connection ends in good order, or the session goes to another machine: nothing is published. */
void will_forget(struct session *s);

/* The will of a client of a machine that has died; on_will() of struct roaming_host. */
void will_inherit(void *broker, struct view run, struct view key, const struct roaming_will *will);

/* A connection begins: what waited is forgotten, *will is taken (NULL: none). */
void will_connected(struct session *s, struct will **will);
/* The connection has ended, s is offline (offline_ms is set): publishes, or starts the delay. */
void will_disconnected(struct session *s);
/* The session ends, or begins anew: publishes now. */
void will_session_ended(struct session *s);
/* s, offline, leaves its worker: stops the delay, which will_disconnected() starts again. */
void will_pause(struct session *s);

/* As bytes in the session's row; nothing for NULL. */
void will_encode(const struct will *will, struct buf *out);
/* *will is a copy, NULL for no bytes. 0, or ERR_CORRUPT. */
int will_decode(struct view bytes, struct will **will);

#endif
