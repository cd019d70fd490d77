/* broker/sys.h - figures of the broker as messages under $SYS/broker/, and those of an annex
 *
 * They are records of the journal, retained like others but never stored: each process makes its own.
 * Every ten seconds, and when somebody subscribes, those that have changed are published, if any
 * connected session asks for them; otherwise nothing is. What a session lost is told when it happens, in
 * any case:
 *
 *   $SYS/broker/isobar/lost   {"client_id":"...","records":120,"wanted":7,"exact":true}
 *
 * An annex has topics of its own, which may come and go; one that is not told any more is cleared.
 *
 * Read by accounts with `admin: true`, or whose `read` names $SYS (no wildcard matches it
 * [MQTT-4.7.2-1]); nobody may publish there.
 *
 * Threads: sys_new() and sys_free() on one thread; the others as they say.
 */
#ifndef BROKER_SYS_H
#define BROKER_SYS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/view.h"
#include "net/loop.h"

struct broker;
struct broker_worker;
struct sys;

/* Part of struct broker_worker: looks whether somebody wants to know. */
struct sys_watch {
	struct timer timer;
};
void sys_watch_start(struct broker_worker *w);
void sys_watch_stop(struct broker_worker *w);

/* What else there is below $SYS/, from another room: tell() calls say() for each topic. On any worker; calls
 * nothing else of this room. */
typedef void sys_say(void *to, struct view topic, struct view text);
struct sys_annex {
	void (*tell)(void *context, sys_say *say, void *to);
	void *context;
};

struct sys *sys_new(struct broker *b);
void sys_free(struct sys *s);

/* Can the filter match anything here? */
static inline bool sys_is_asked(struct view filter)
{
	return view_starts_with(filter, VIEW("$SYS/"));
}

/* A subscription to it is about to be made: the figures of this moment are published, unless they are less
 * than a second old. On any worker. */
void sys_refresh(struct broker_worker *w);

/* A session lost records; any thread. */
void sys_tell_lost(
	struct broker *b, struct view client_id, uint64_t records, uint64_t wanted, bool exact);

#endif
