#include "report/reject.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* Copies `from` to *at and moves it on. */
static struct view put(char **at, struct view from)
{
	struct view to = {*at, from.n};

	if (from.n)
		memcpy(*at, from.p, from.n);
	*at += from.n;
	return to;
}

static void find_place(struct reject *r)
{
	const char *begin = r->payload.p;
	const char *at = begin + r->finding.offset;

	if (r->finding.level || r->finding.offset > r->payload.n)
		return;
	r->line = 1;
	for (const char *p = begin; p < at; p++) {
		if (*p != '\n')
			continue;
		r->line++;
		begin = p + 1;
	}
	r->column = (uint32_t)(at - begin) + 1;
}

struct reject *reject_new(const struct report *r, struct view subject, uint64_t wall_ms)
{
	struct view source = view_of(r->source);
	struct view centre = view_of(r->centre);
	struct view nearest = r->finding->nearest; /* of tables that a reload may free */
	size_t n = source.n + centre.n + subject.n + r->topic.n + r->payload.n + nearest.n;
	struct reject *made = mem_new(sizeof(*made) + n);
	char *at = (char *)(made + 1);

	made->refs = 1;
	made->time_ms = wall_ms;
	made->source = put(&at, source);
	made->centre = put(&at, centre);
	made->subject = subject.n ? put(&at, subject) : made->centre;
	made->topic = put(&at, r->topic);
	made->payload = put(&at, r->payload);
	made->finding = *r->finding;
	made->finding.nearest = put(&at, nearest);
	made->bytes = (uint32_t)(sizeof(*made) + n);
	made->passes = r->passes;
	find_place(made);
	return made;
}

struct reject *reject_ref(struct reject *r)
{
	atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
	return r;
}

void reject_unref(struct reject *r)
{
	if (r && atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) == 1)
		free(r);
}

const char *reject_code(enum rule rule)
{
	static const char *const codes[CHECK_COUNT] = {
		[CHECK_TOPIC] = "invalid-topic",
		[CHECK_CENTRE] = "invalid-topic",
		[CHECK_MESSAGE] = "invalid-schema",
		[CHECK_METADATA] = "missing-metadata",
	};

	return codes[rule_check(rule)];
}
