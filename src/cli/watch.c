#include "cli/watch.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/mem.h"

struct watched {
	uint64_t look;    /* the last one that saw it: older ones are gone */
	uint64_t away_ms; /* since when it is not connected */
	bool is_connected;
	bool was_connected; /* ever */
	bool is_told;       /* that it is away */
	char name[];
};

struct looking {
	struct watch *watch;
	struct reports *reports;
	uint64_t now_ms;
};

static struct watched *watched_of(struct looking *l, const char *name)
{
	struct view key = view_of(name);
	struct watched *one = map_get(&l->watch->sources, key);

	if (one)
		return one;
	one = mem_new(sizeof(*one) + key.n + 1);
	memcpy(one->name, name, key.n);
	one->away_ms = l->now_ms;
	map_put(&l->watch->sources, (struct view){one->name, key.n}, one);
	return one;
}

static void tell(struct looking *l, const struct source_view *v, enum event_notice which)
{
	struct buf text = {0};

	buf_printf(&text, "Source %s at %s.", v->name, v->url);
	buf_append(&text, "", 1);
	reports_notice(l->reports, v->centre_id, which, (const char *)buf_bytes(&text));
	buf_fini(&text);
}

static void came(struct looking *l, const struct source_view *v, struct watched *one)
{
	if (one->is_told)
		tell(l, v, EVENT_SOURCE_BACK);
	else if (!one->was_connected)
		tell(l, v, EVENT_SOURCE_CONNECTED);
	one->was_connected = true;
	one->is_told = false;
}

static void look_at(void *context, const struct source_view *v)
{
	struct looking *l = context;
	struct watched *one = watched_of(l, v->name);
	bool is_connected = count_read(&v->figures->connected) != 0;

	one->look = l->watch->looks;
	if (is_connected && !one->is_connected)
		came(l, v, one);
	if (!is_connected && (one->is_connected || !v->enabled))
		one->away_ms = l->now_ms;
	one->is_connected = is_connected;
	if (is_connected || one->is_told || l->now_ms - one->away_ms < WATCH_AWAY_MS)
		return;
	one->is_told = true;
	tell(l, v, EVENT_SOURCE_AWAY);
}

/* Sources that are not configured any more. */
static void forget_gone(struct watch *w)
{
	struct watched *one;
	size_t at = 0;

	while ((one = map_next(&w->sources, &at)) != NULL) {
		if (one->look == w->looks)
			continue;
		map_remove(&w->sources, view_of(one->name));
		free(one);
		at = 0;
	}
}

void watch_look(struct watch *w, struct sources *sources, const char *degraded,
	struct reports *reports, uint64_t now_ms)
{
	struct looking l = {w, reports, now_ms};

	w->looks++;
	sources_each(sources, look_at, &l);
	forget_gone(w);
	if (degraded && !w->is_degraded)
		reports_notice(reports, NULL, EVENT_DEGRADED, degraded);
	if (!degraded && w->is_degraded)
		reports_notice(reports, NULL, EVENT_RECOVERED, "");
	w->is_degraded = degraded != NULL;
}

void watch_fini(struct watch *w)
{
	struct watched *one;
	size_t at = 0;

	while ((one = map_next(&w->sources, &at)) != NULL)
		free(one);
	map_fini(&w->sources);
}
