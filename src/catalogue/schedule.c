#include "catalogue/schedule.h"

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

void schedule_init(struct schedule *s, uint64_t now_ms, uint64_t refresh_ms)
{
	*s = (struct schedule){.refresh_ms = refresh_ms, .due_ms = now_ms};
}

bool schedule_is_due(const struct schedule *s, uint64_t now_ms)
{
	return now_ms >= s->due_ms;
}

void schedule_begin(struct schedule *s, uint64_t now_ms)
{
	s->begun_ms = now_ms;
	s->has_begun = true;
}

/* From nine tenths to eleven tenths. */
static uint64_t with_chance(uint64_t ms, uint64_t chance)
{
	uint64_t tenth = ms / 10;

	return ms - tenth + (tenth ? chance % (2 * tenth) : 0);
}

static uint64_t pause_after_failures(const struct schedule *s)
{
	unsigned doublings = s->failures - 1;

	return doublings >= 16 ? s->refresh_ms
			       : least((uint64_t)SCHEDULE_GAP_MS << doublings, s->refresh_ms);
}

void schedule_end(struct schedule *s, uint64_t now_ms, bool good, uint64_t chance)
{
	s->failures = good ? 0 : s->failures + 1;
	if (good) {
		s->good_ms = now_ms;
		s->has_good = true;
	}
	s->due_ms = now_ms + with_chance(good ? s->refresh_ms : pause_after_failures(s), chance);
}

void schedule_change(struct schedule *s, uint64_t now_ms, uint64_t refresh_ms)
{
	s->refresh_ms = refresh_ms;
	s->due_ms = least(s->due_ms, now_ms + refresh_ms);
}

void schedule_notice(struct schedule *s, uint64_t now_ms)
{
	uint64_t soonest = s->has_begun ? s->begun_ms + SCHEDULE_GAP_MS : now_ms;

	s->due_ms = least(s->due_ms, soonest > now_ms ? soonest : now_ms);
}

void schedule_miss(struct schedule *s, uint64_t now_ms)
{
	if (!s->has_good || now_ms - s->good_ms > SCHEDULE_MISS_MS)
		schedule_notice(s, now_ms);
}
