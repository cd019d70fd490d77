#include <stdlib.h>

#include "admin/internal.h"
#include "base/mem.h"

static struct centre *add_centre(struct centres *c, const char *centre_id)
{
	if (c->count == c->size) {
		c->size = c->size ? c->size * 2 : 32;
		c->list = mem_resize(c->list, c->size * sizeof(*c->list));
	}
	c->list[c->count] = (struct centre){.centre_id = mem_text(centre_id)};
	return &c->list[c->count++];
}

static struct centre *centre_of(struct centres *c, const char *centre_id)
{
	for (uint32_t i = 0; i < c->count; i++) {
		if (strcmp(c->list[i].centre_id, centre_id) == 0)
			return &c->list[i];
	}
	return add_centre(c, centre_id);
}

static void add_counts(struct centre *to, const struct source_figures *f)
{
	to->received += count_read(&f->received);
	to->published += count_read(&f->published);
	to->duplicates += count_read(&f->duplicates);
	to->conflicts += count_read(&f->conflicts);
	to->standby_received += count_read(&f->standby_received);
	to->standby_duplicates += count_read(&f->standby_duplicates);
	to->standby_rejected += count_read(&f->standby_rejected);
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

static void on_tally(void *context, const struct tally *t)
{
	struct centre *to = add_centre(context, t->centre);

	to->received = t->figures[TALLY_RECEIVED];
	to->published = t->figures[TALLY_PUBLISHED];
	to->checks[CHECK_TOPIC] = t->figures[TALLY_INVALID_TOPIC];
	to->checks[CHECK_MESSAGE] = t->figures[TALLY_INVALID_FORMAT];
	to->checks[CHECK_METADATA] = t->figures[TALLY_NO_METADATA];
	to->duplicates = t->figures[TALLY_DUPLICATES];
	to->last_message_ms = t->figures[TALLY_LAST_MS];
	to->connected = t->connected;
}

void centres_of_cluster(struct cluster *cluster, struct centres *out)
{
	*out = (struct centres){0};
	cluster_each_tally(cluster, on_tally, out);
}

void centres_fini(struct centres *c)
{
	for (uint32_t i = 0; i < c->count; i++)
		free(c->list[i].centre_id);
	free(c->list);
}
