/* Whatever the bytes: the verdict on an event does not depend on whether all findings are wanted, and
 * findings are in order and inside the payload. */
#include <stdint.h>

#include "base/check.h"
#include "wis2/event.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char empty[1];
	struct view payload = {size ? (const char *)data : empty, size};
	struct event_options options = {.subject = VIEW("de-dwd"), .all = true};
	struct notification note;
	struct findings found;
	enum rule rule = event_judge(payload, &options, &note, &found);

	for (uint32_t i = 0; i < found.count; i++) {
		const struct finding *f = &found.at[i];

		check(f->rule >= RULE_MON_20 && f->rule <= RULE_MON_27 && f->reason);
		check(i == 0 || found.at[i - 1].rule < f->rule);
		check(f->offset <= size);
	}
	options.all = false;
	check(event_judge(payload, &options, &note, &found) == rule);
	check(found.count == (rule != RULE_NONE));
	return 0;
}
