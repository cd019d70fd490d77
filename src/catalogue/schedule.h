/* catalogue/schedule.h - when the catalogues are asked next
 *
 *     every refresh, give or take a tenth, so that brokers do not ask in step
 *     after a round without any success: two minutes later, then four, eight ... up to refresh
 *     a metadata notification: two minutes after the last round began, if that is sooner, so that
 *     the catalogue has taken the record in (metadata.md, section 4)
 *     a message without a record: the same, when the last good list is older than 15 minutes
 *
 * Pure; times are of a monotonic clock, milliseconds.
 */
#ifndef CATALOGUE_SCHEDULE_H
#define CATALOGUE_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#define SCHEDULE_GAP_MS (2u * 60u * 1000u)
#define SCHEDULE_MISS_MS (15u * 60u * 1000u)

struct schedule {
	uint64_t refresh_ms;
	uint64_t begun_ms; /* of the last round; valid with has_begun */
	uint64_t good_ms;  /* when a round last had success; valid with has_good */
	uint64_t due_ms;
	unsigned failures; /* rounds without success in a row */
	bool has_begun;
	bool has_good;
};

/* Due now. */
void schedule_init(struct schedule *s, uint64_t now_ms, uint64_t refresh_ms);
bool schedule_is_due(const struct schedule *s, uint64_t now_ms);
void schedule_begin(struct schedule *s, uint64_t now_ms);
/* The round ended. chance: any number, for the tenth. */
void schedule_end(struct schedule *s, uint64_t now_ms, bool good, uint64_t chance);
/* Another refresh time from now on. */
void schedule_change(struct schedule *s, uint64_t now_ms, uint64_t refresh_ms);
void schedule_notice(struct schedule *s, uint64_t now_ms);
void schedule_miss(struct schedule *s, uint64_t now_ms);

#endif
