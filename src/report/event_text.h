/* report/event_text.h - WIS2 monitoring event messages of this broker, as JSON text
 *
 * CloudEvents as MON-20 to MON-27 ask, subtypes and codes as monitoring.md, section 3, lists them, at
 * most EVENT_BYTES (MON-21): what does not fit is left out, the message's own texts first.
 *
 * Pure. Threads: any; not on a worker (jansson allocates).
 */
#ifndef REPORT_EVENT_TEXT_H
#define REPORT_EVENT_TEXT_H

#include "base/buf.h"
#include "base/uuid.h"
#include "report/alarms.h"

#define EVENT_BYTES 8192u

struct event_head {
	struct uuid id;
	const char *source;  /* this broker's centre-id */
	struct view subject; /* the centre it is about */
	uint64_t time_ms;    /* wall clock */
};

/* Appends the report on messages that broke rules. */
void event_put_report(
	struct buf *out, const struct event_head *head, const struct alarm_notice *notice);

/* What else there is to tell; a row of notice.def. */
enum event_notice {
#define X(name, subtype, severity, title) EVENT_##name,
#include "report/notice.def"
#undef X
	EVENT_NOTICE_COUNT
};

/* What is told; texts are borrowed. */
struct event_notice_text {
	enum event_notice which;
	const char *description; /* may be "" */
	/* RFC 3339 times between which it happens, or ".." (MON-27); both NULL: no interval */
	const char *from;
	const char *until;
};

/* Appends the notice. */
void event_put_notice(
	struct buf *out, const struct event_head *head, const struct event_notice_text *notice);

#endif
