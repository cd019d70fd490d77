#include <stdlib.h>

#include "admin/internal.h"
#include "base/mem.h"

static struct centre *centre_of(struct centres *c, const char *centre_id)
{
	for (uint32_t i = 0; i < c->count; i++) {
		if (strcmp(c->list[i].centre_id, centre_id) == 0)
			return &c->list[i];
	}
	if (c->count == c->size) {
		c->size = c->size ? c->size * 2 : 32;
		c->list = mem_resize(c->list, c->size * sizeof(*c->list));
	}
	c->list[c->count] = (struct centre){.centre_id = mem_text(centre_id)};
	return &c->list[c->count++];
}

static void add_counts(struct centre *to, const struct source_figures *f)
{
	to->received += count_read(&f->received);
	to->published += count_read(&f->published);
	to->duplicates += count_read(&f->duplicates);
	to->by_centre += count_read(&f->by_centre);
	to->oversized += count_read(&f->oversized);
	to->clean_starts += count_read(&f->lost_by_clean_start);
	to->connects += count_read(&f->connects);
	to->bytes += count_read(&f->bytes);
	for (int i = 0; i < RULE_COUNT; i++)
		to->rejected[i] += count_read(&f->rejected[i]);
	for (int i = 0; i < CHECK_COUNT; i++)
		to->checks[i] += count_read(&f->checks[i]);
	for (int i = 0; i < HISTOGRAM_BUCKETS; i++)
		to->delay[i] += count_read(&f->delay.buckets[i]);
	to->delay_us += count_read(&f->delay.sum_us);
}

static void on_source(void *context, const struct source_view *v)
{
	struct centre *to = centre_of(context, v->centre_id);
	uint64_t last = count_read(&v->figures->last_message_ms);

	add_counts(to, v->figures);
	if (last > to->last_message_ms)
		to->last_message_ms = last;
	to->connected |= count_read(&v->figures->connected) != 0;
}

void centres_collect(struct sources *s, struct centres *out)
{
	*out = (struct centres){0};
	sources_each(s, on_source, out);
}

void centres_fini(struct centres *c)
{
	for (uint32_t i = 0; i < c->count; i++)
		free(c->list[i].centre_id);
	free(c->list);
}
