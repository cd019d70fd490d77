/* Whatever the bytes: the verdict does not depend on whether all findings are wanted, a milder mode
 * never refuses what a stricter one accepts, and findings are in order and inside the payload. */
#include <stdint.h>

#include "base/check.h"
#include "wis2/notification.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_findings(const struct findings *found, size_t size)
{
	for (uint32_t i = 0; i < found->count; i++) {
		const struct finding *f = &found->at[i];

		check(f->rule > RULE_NONE && f->rule < RULE_COUNT && f->reason);
		check(i == 0 || found->at[i - 1].rule < f->rule);
		check(f->offset <= size);
		check(strlen(f->path) < FINDING_PATH_BYTES);
	}
}

static bool is_inside(struct view part, struct view whole)
{
	return part.p == NULL || (part.p >= whole.p && part.p + part.n <= whole.p + whole.n);
}

static void check_note(const struct notification *note, struct view payload)
{
	check(is_inside(note->id_text, payload));
	check(is_inside(note->data_id, payload));
	check(is_inside(note->metadata_id, payload));
	check(is_inside(note->content, payload));
}

static bool has_rule(const struct findings *found, enum rule rule)
{
	for (uint32_t i = 0; i < found->count; i++) {
		if (found->at[i].rule == rule)
			return true;
	}
	return false;
}

/* What a milder mode finds, a stricter one finds too. */
static void check_cumulative(const struct findings *milder, const struct findings *stricter)
{
	if (stricter->count == FINDINGS_MOST)
		return;
	for (uint32_t i = 0; i < milder->count; i++)
		check(has_rule(stricter, milder->at[i].rule));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char empty[1];
	struct view payload = {size ? (const char *)data : empty, size};
	struct findings found[2] = {0};
	struct notification note;

	for (unsigned mode = MODE_LENIENT; mode <= MODE_STRICT; mode++) {
		struct notification_options options = {.mode = (enum rule_mode)mode,
			.metadata_topic = size & 1,
			.cache_topic = size & 2,
			.all = true};
		struct findings *now = &found[mode & 1], first;
		enum rule rule = notification_judge(payload, &options, &note, now);

		check_findings(now, size);
		check_note(&note, payload);
		if (mode > MODE_LENIENT)
			check_cumulative(&found[(mode & 1) ^ 1], now);
		options.all = false;
		check(notification_judge(payload, &options, &note, &first) == rule);
		check(first.count <= 1 && (first.count == 1) == (rule != RULE_NONE));
	}
	return 0;
}
