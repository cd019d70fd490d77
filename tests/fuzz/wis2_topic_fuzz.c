/* Whatever the bytes: the verdict does not depend on whether all findings are wanted, `leaf = only`
 * refuses at least what the default refuses, findings are in order and inside the topic. */
#include <stdint.h>

#include "base/check.h"
#include "wis2/topic.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_findings(const struct findings *found, size_t size)
{
	for (uint32_t i = 0; i < found->count; i++) {
		const struct finding *f = &found->at[i];

		check(i == 0 || found->at[i - 1].rule < f->rule);
		check(f->offset <= size && f->level > 0 && f->reason);
	}
}

static bool is_inside(struct view part, struct view whole)
{
	return part.p == NULL || (part.p >= whole.p && part.p + part.n <= whole.p + whole.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char empty[1];
	struct view topic = {size ? (const char *)data : empty, size};
	struct hierarchy *h = hierarchy_built_in();
	struct topic_parts parts;
	struct findings found, first;

	for (unsigned bits = 0; bits < 8; bits++) {
		struct topic_options options = {bits & 1, bits & 2, bits & 4, true, NULL};
		enum rule rule = topic_judge(h, topic, &options, &parts, &found);

		check_findings(&found, size);
		check(is_inside(parts.channel, topic) && is_inside(parts.centre, topic) &&
			is_inside(parts.tail, topic));
		options.all = false;
		check(topic_judge(h, topic, &options, &parts, &first) == rule);
		check(first.count <= 1);
		options.leaf_only = true;
		check(rule == RULE_NONE ||
			topic_judge(h, topic, &options, &parts, &first) != RULE_NONE);
	}
	return 0;
}
