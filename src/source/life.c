/* source/life.c - one source from configuration to connection and back
 *
 * The way to a connection and back is its uplink's (uplink/uplink.h); here is what a source adds: its
 * figures, the filters of an earlier configuration, and the date on which it goes by itself.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "source/internal.h"

static struct source *source_of(struct uplink *u)
{
	return container_of(u, struct source, uplink);
}

/* --- what the uplink tells --------------------------------------------- */

static bool is_over(const struct source *s)
{
	uint64_t until = s->setup->config.until_ms;

	return until && loop_wall_ms(s->worker->loop) >= until;
}

static bool is_wanted(struct uplink *u)
{
	const struct source *s = source_of(u);

	return s->setup->config.enabled && s->slot != SOURCE_NOT_HELD && !is_over(s);
}

static void note_connected(struct source *s)
{
	char url[URL_TEXT_BYTES];

	count_add(&s->figures.connects, 1);
	count_set(&s->figures.connected_since_ms, loop_wall_ms(s->worker->loop));
	source_filters_fini(&s->stale);
	url_format(&s->uplink.url, url);
	log_info("source", "connected", "name=%s url=%s version=%s filters=%u", s->name, url,
		s->uplink.version == MQTT_5 ? "5" : "3.1.1", s->setup->filters.count);
}

static void on_state(struct uplink *u)
{
	struct source *s = source_of(u);

	count_set(&s->figures.state, u->state);
	count_set(&s->figures.connected, u->state == UPLINK_CONNECTED);
	if (u->state == UPLINK_CONNECTED)
		note_connected(s);
	else if (u->state == UPLINK_DISABLED && s->setup->config.enabled && is_over(s))
		log_info("source", "over", "name=%s its date (until) has passed", s->name);
}

static void on_leave(struct uplink *u)
{
	source_acknowledge(source_of(u));
}

static void on_end(struct uplink *u, int err)
{
	struct source *s = source_of(u);

	(void)err;
	source_intake_closed(s);
	count_set(&s->figures.connected, 0);
}

static void on_stopped(struct uplink *u)
{
	struct source *s = source_of(u);
	struct source_worker *w = s->worker;

	source_intake_fini(s);
	list_remove(&s->dirty);
	if (s->ending) {
		list_remove(&s->link);
		source_free(s);
	}
	source_worker_check_stopped(w);
}

static const struct uplink_handler handler = {
	.room = "source",
	.is_wanted = is_wanted,
	.on_state = on_state,
	.on_hello = source_on_hello,
	.on_accepted = source_on_accepted,
	.on_bytes = source_on_bytes,
	.on_leave = on_leave,
	.on_end = on_end,
	.on_stopped = on_stopped,
};

/* --- begin, change, quit ------------------------------------------------ */

static void show_setup(struct source *s)
{
	const struct source_config *c = &s->setup->config;

	pthread_mutex_lock(&s->set->text_lock);
	snprintf(s->shown.centre_id, sizeof(s->shown.centre_id), "%s", c->centre_id);
	s->shown.kind = c->kind;
	s->shown.enabled = c->enabled;
	pthread_mutex_unlock(&s->set->text_lock);
}

static void note_holding(struct source *s, uint32_t slot, bool is_voice)
{
	s->slot = slot;
	s->is_voice = is_voice;
	count_set(&s->figures.holder, slot == SOURCE_NOT_HELD ? 0 : slot + 1);
	count_set(&s->figures.is_voice, is_voice);
}

struct source *source_new(
	struct sources *set, struct source_worker *w, uint16_t number, struct source_setup *setup)
{
	struct source *s = mem_new(sizeof(*s));
	char *label;

	s->set = set;
	s->worker = w;
	s->number = number;
	s->name = mem_text(setup->config.name);
	s->setup = setup;
	note_holding(s, set->is_shared ? SOURCE_NOT_HELD : 0, !set->is_shared);
	source_config_copy(&s->known, &setup->config);
	list_init(&s->link);
	list_init(&s->dirty);
	label = mem_printf("name=%s centre_id=%s", s->name, setup->config.centre_id);
	uplink_init(&s->uplink, &handler, &set->uplinks, w->loop, label);
	free(label);
	uplink_set_plan(&s->uplink, &setup->plan);
	source_intake_init(s);
	show_setup(s);
	return s;
}

void source_free(struct source *s)
{
	uplink_fini(&s->uplink);
	source_setup_free(s->setup);
	source_filters_fini(&s->stale);
	source_config_fini(&s->known);
	firsts_fini(&s->firsts);
	free(s->name);
	free(s);
}

void source_begin(struct source *s)
{
	list_append(&s->worker->all, &s->link);
	bucket_init(&s->bucket, s->setup->config.rate, loop_now_ms(s->worker->loop));
	uplink_begin(&s->uplink);
}

static bool has_filter(const struct source_filters *f, const char *text)
{
	for (uint32_t i = 0; i < f->count; i++) {
		if (strcmp(f->texts[i], text) == 0)
			return true;
	}
	return false;
}

/* Keeps what is no longer asked for: it is unsubscribed at the next connection. */
static void note_stale(struct source *s, const struct source_filters *now)
{
	const struct source_filters *was = &s->setup->filters;

	source_filters_fini(&s->stale);
	for (uint32_t i = 0; i < was->count; i++) {
		if (has_filter(now, was->texts[i]))
			continue;
		s->stale.texts = mem_resize(s->stale.texts, (s->stale.count + 1) * sizeof(char *));
		s->stale.texts[s->stale.count++] = mem_text(was->texts[i]);
	}
}

void source_change(struct source *s, struct source_setup *setup)
{
	struct source_setup *old = s->setup;

	note_stale(s, &setup->filters);
	s->setup = setup;
	bucket_init(&s->bucket, setup->config.rate, loop_now_ms(s->worker->loop));
	show_setup(s);
	uplink_change(&s->uplink, &setup->plan);
	source_setup_free(old);
}

/* Another slot is another session at the peer. */
void source_hold(struct source *s, uint32_t slot, bool is_voice)
{
	bool moves = s->slot != slot;

	note_holding(s, slot, is_voice);
	if (!moves)
		return;
	log_info("source", "holding", "name=%s slot=%d", s->name,
		slot == SOURCE_NOT_HELD ? -1 : (int)slot);
	uplink_change(&s->uplink, &s->setup->plan);
}

void source_quit(struct source *s, bool ending)
{
	s->ending = s->ending || ending;
	uplink_stop(&s->uplink);
}
