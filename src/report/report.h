/* report/report.h - telling what was refused, and what happens to this broker
 *
 * Sources report each message that broke a rule. It is kept for whoever asks (reject.h), and told
 * the centre by a WIS2 monitoring event on monitor/a/wis2/{centre} (MON-20 to MON-43; Manual on WIS
 * Vol. II, 4.4.6), limited per source and code (alarms.h). Events go the way of every message: they
 * are committed to the journal, QoS 1, not retained (MON-42).
 *
 *     worker: reports_add() --> rejects (kept)
 *                          \--> alarms --due--> thread: text --> port's loop: commit_submit()
 *     anybody: reports_notice() ----------------------^
 *
 * Threads: any. reports_add() takes a lock: it is called for broken messages only.
 */
#ifndef REPORT_REPORT_H
#define REPORT_REPORT_H

#include "commit/commit.h"
#include "report/event_text.h"
#include "report/rejects.h"
#include "wis2/topic.h"

struct reports;

struct reports_settings {
	const char *centre_id;    /* this broker's */
	struct commit_port *port; /* by which events are published; borrowed until reports_stop() */
	bool publishes;           /* false: rejects are kept, no events */
};

struct reports *reports_new(const struct reports_settings *settings);

/* Publishes what is waiting, for at most a second; the port's loop still runs. Not on a loop. */
void reports_stop(struct reports *r);
/* After reports_stop(), or when no loop ever ran. */
void reports_free(struct reports *r);

/* Centres that events of messages from caches and brokers may be about. Referenced. */
void reports_set_hierarchy(struct reports *r, struct hierarchy *h);

/* Notes a message of a source that broke a rule. Copies what it needs. */
void reports_add(struct reports *r, const struct report *one);

/* Publishes an event about a centre; subject NULL: about this broker. */
void reports_notice(
	struct reports *r, const char *subject, enum event_notice which, const char *description);

/* The same with a time; copies the texts. False: none is published (too many wait, or this broker publishes
 * none). */
bool reports_tell(struct reports *r, const char *subject, const struct event_notice_text *notice);

/* As rejects_find() and rejects_get(). */
uint32_t reports_find(struct reports *r, const struct rejects_query *q, struct reject **out);
struct reject *reports_get(struct reports *r, uint64_t number);

struct reports_figures {
	uint64_t events;         /* published */
	uint64_t events_dropped; /* not published: too many were waiting for the journal */
	uint64_t rejects;        /* kept now */
	uint64_t reject_bytes;
};
void reports_figures(struct reports *r, struct reports_figures *out);

#endif
