/* report/alarms.h - how often something is told (MON-41)
 *
 * One alarm per source and exception code. The first message is told at once; what follows is
 * counted by rule and told together, with the first of it as example, once a minute for as long as
 * it lasts. A minute in which nothing came ends the alarm.
 *
 *     quiet --message: told at once--> minute begins --minute over, nothing came--> quiet
 *                                       ^   |  counted
 *                                       +---+  minute over: told with counts
 *
 * Pure: time is the caller's. Threads: one at a time.
 */
#ifndef REPORT_ALARMS_H
#define REPORT_ALARMS_H

#include "base/list.h"
#include "base/map.h"
#include "report/reject.h"

#define ALARM_EVERY_MS 60000u

/* What is to be told; from alarms_add() or alarms_next(). */
struct alarm_notice {
	struct reject *example;      /* one reference, the receiver's */
	uint64_t counts[RULE_COUNT]; /* messages it stands for, by rule */
	uint64_t total;
	uint64_t refused; /* of these, not published */
};

struct alarms {
	struct map by_key;  /* struct alarm by source NUL code */
	struct list by_end; /* the one whose minute ends first is first */
};

void alarms_init(struct alarms *a);
void alarms_fini(struct alarms *a);

/* Notes one message. True: *out is to be told now. */
bool alarms_add(struct alarms *a, struct reject *one, uint64_t now_ms, struct alarm_notice *out);

/* True: a minute is over, *out is to be told; call again. False: nothing more is due at now_ms. */
bool alarms_next(struct alarms *a, uint64_t now_ms, struct alarm_notice *out);

#endif
