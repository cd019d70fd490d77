#include "report/alarms.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/mem.h"

struct alarm {
	struct list link;
	uint64_t end_ms;
	struct alarm_notice waiting; /* example NULL: nothing came in this minute */
	struct buf key;
};

void alarms_init(struct alarms *a)
{
	*a = (struct alarms){0};
	list_init(&a->by_end);
}

static void end_alarm(struct alarms *a, struct alarm *one)
{
	map_remove(&a->by_key, buf_view(&one->key));
	list_remove(&one->link);
	reject_unref(one->waiting.example);
	buf_fini(&one->key);
	free(one);
}

void alarms_fini(struct alarms *a)
{
	while (!list_is_empty(&a->by_end))
		end_alarm(a, container_of(a->by_end.next, struct alarm, link));
	map_fini(&a->by_key);
}

static void note(struct alarm_notice *n, struct reject *one)
{
	if (n->example == NULL)
		n->example = reject_ref(one);
	n->counts[one->finding.rule]++;
	n->total++;
	n->refused += !one->passes;
}

/* All minutes are equally long: the youngest is always last. */
static void begin_minute(struct alarms *a, struct alarm *one, uint64_t now_ms)
{
	one->end_ms = now_ms + ALARM_EVERY_MS;
	list_remove(&one->link);
	list_append(&a->by_end, &one->link);
}

bool alarms_add(struct alarms *a, struct reject *one, uint64_t now_ms, struct alarm_notice *out)
{
	const char *code = reject_code(one->finding.rule);
	struct alarm *found;
	struct buf key = {0};

	buf_append(&key, one->source.p, one->source.n);
	buf_append(&key, "", 1);
	buf_text(&key, code);
	found = map_get(&a->by_key, buf_view(&key));
	if (found) {
		buf_fini(&key);
		note(&found->waiting, one);
		return false;
	}
	found = mem_new(sizeof(*found));
	found->key = key;
	list_init(&found->link);
	map_put(&a->by_key, buf_view(&found->key), found);
	begin_minute(a, found, now_ms);
	*out = (struct alarm_notice){0};
	note(out, one);
	return true;
}

bool alarms_next(struct alarms *a, uint64_t now_ms, struct alarm_notice *out)
{
	while (!list_is_empty(&a->by_end)) {
		struct alarm *one = container_of(a->by_end.next, struct alarm, link);

		if (one->end_ms > now_ms)
			return false;
		if (one->waiting.example) {
			*out = one->waiting;
			one->waiting = (struct alarm_notice){0};
			begin_minute(a, one, now_ms);
			return true;
		}
		end_alarm(a, one);
	}
	return false;
}
