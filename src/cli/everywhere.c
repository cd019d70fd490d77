#include "cli/everywhere.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/config_keys.h"
#include "cli/control_orders.h"
#include "cli/source_files.h"

#define WAITING_MOST 65536u
#define SOURCE_PREFIX "source/"
#define ACCOUNTS "accounts"

struct item {
	struct list link;
	char *name; /* of a file that changed here; NULL: `text` came from another node */
	char *by;
	char *text;
};

struct everywhere {
	struct server *server;
	char *node;
	pthread_mutex_t lock;
	struct list items;
	uint32_t count;
};

static void item_free(struct item *i)
{
	free(i->name);
	free(i->by);
	free(i->text);
	free(i);
}

static void put(struct everywhere *e, struct item *i)
{
	bool has_room;

	pthread_mutex_lock(&e->lock);
	has_room = e->count < WAITING_MOST;
	if (has_room) {
		list_append(&e->items, &i->link);
		e->count++;
	}
	pthread_mutex_unlock(&e->lock);
	if (has_room)
		return;
	log_error("cli", "order_dropped", "why=\"%u wait\"", WAITING_MOST);
	item_free(i);
}

static struct item *take(struct everywhere *e)
{
	struct item *i = NULL;

	pthread_mutex_lock(&e->lock);
	if (!list_is_empty(&e->items)) {
		i = container_of(e->items.next, struct item, link);
		list_remove(&i->link);
		e->count--;
	}
	pthread_mutex_unlock(&e->lock);
	return i;
}

struct everywhere *everywhere_new(struct server *s)
{
	struct everywhere *e = mem_new(sizeof(*e));

	e->server = s;
	e->node = mem_text(s->config->cluster.node);
	list_init(&e->items);
	pthread_mutex_init(&e->lock, NULL);
	return e;
}

void everywhere_free(struct everywhere *e)
{
	struct item *i;

	if (e == NULL)
		return;
	while ((i = take(e)) != NULL)
		item_free(i);
	pthread_mutex_destroy(&e->lock);
	free(e->node);
	free(e);
}

void everywhere_change(struct everywhere *e, const char *name, const char *by)
{
	struct item *i;

	if (e == NULL)
		return;
	i = mem_new(sizeof(*i));
	i->name = mem_text(name);
	i->by = mem_text(by);
	put(e, i);
}

void everywhere_take(struct everywhere *e, struct view text)
{
	struct item *i = mem_new(sizeof(*i));

	i->text = mem_text_of(text);
	put(e, i);
	kill(getpid(), SIGUSR1);
}

/* --- telling -------------------------------------------------------------- */

void everywhere_tell(struct everywhere *e, const char *about, const char *by, const json_t *order)
{
	struct server *s = e ? e->server : NULL;
	json_t *whole;
	char *text;

	if (s == NULL || s->cluster == NULL)
		return;
	whole = json_pack(
		"{s:s, s:s, s:O}", "by", by, "node", e->node, "order", (json_t *)(uintptr_t)order);
	text = whole ? json_dumps(whole, JSON_COMPACT) : NULL;
	if (text == NULL || cluster_tell_order(s->cluster, about, view_of(text)) < 0)
		log_error("cli", "order_not_told",
			"about=%s why=\"too large, or too many wait\": give it on every node",
			about);
	free(text);
	json_decref(whole);
}

/* "FOLDER/NAME.yaml" or the accounts file; NULL: no such name. The caller frees. */
static char *path_of(const struct everywhere *e, const char *name)
{
	const struct config *c = e->server->config;

	if (strcmp(name, ACCOUNTS) == 0)
		return mem_text(c->accounts_file);
	if (strncmp(name, SOURCE_PREFIX, strlen(SOURCE_PREFIX)) == 0)
		return source_file(c, name + strlen(SOURCE_PREFIX));
	return NULL;
}

static void tell_file(struct everywhere *e, const struct item *i)
{
	char *path = path_of(e, i->name);
	struct buf text = {0};
	bool is_there = path && config_read_file(path, &text) == 0;
	json_t *order;

	if (path && (is_there || errno == ENOENT)) {
		order = json_pack("{s:s, s:s, s:o}", "order", "file", "name", i->name, "text",
			is_there ? json_stringn((const char *)buf_bytes(&text), buf_length(&text))
				 : json_null());
		everywhere_tell(e, i->name, i->by, order);
		json_decref(order);
	}
	buf_fini(&text);
	free(path);
}

/* --- obeying ---------------------------------------------------------------- */

static bool is_same(const char *path, const char *text)
{
	struct buf have = {0};
	bool is_there = config_read_file(path, &have) == 0;
	bool same = text ? is_there && view_equal(buf_view(&have), view_of(text))
			 : !is_there && errno == ENOENT;

	buf_fini(&have);
	return same;
}

static bool write_accounts(const struct config *c, struct view text)
{
	const char *path = c->accounts_file;
	const char *slash = strrchr(path, '/');
	char *folder = mem_text_of((struct view){path, slash ? (size_t)(slash + 1 - path) : 0});
	struct buf lines = {0};
	struct faults faults = {&lines, 0};
	struct config_reader r = {&faults, path, folder, ""};
	struct accounts *set = config_read_accounts(&r, text, &c->checks);
	bool good = set != NULL && file_replace(path, text, 0640) == 0;

	if (set)
		accounts_unref(set);
	buf_fini(&lines);
	free(folder);
	return good;
}

/* 1: it is so now, negative: refused. What was so already is read again as well: nodes may have one
 * folder together. */
static int obey_file(struct everywhere *e, const char *name, const char *text)
{
	const struct config *c = e->server->config;
	char *path = path_of(e, name);
	int done = ERR_CONFIG;

	if (path == NULL)
		return done;
	if (is_same(path, text))
		done = 1;
	else if (strcmp(name, ACCOUNTS) == 0)
		done = text && write_accounts(c, view_of(text)) ? 1 : ERR_CONFIG;
	else if (text)
		done = source_file_write(c, name + strlen(SOURCE_PREFIX), view_of(text), true) == 0
			       ? 1
			       : ERR_CONFIG;
	else
		done = unlink(path) == 0 ? 1 : ERR_SYSTEM;
	free(path);
	return done;
}

static int obey_other(struct everywhere *e, const json_t *order, const char *by)
{
	struct order o = {.server = e->server, .by = by, .is_told = true};
	char *line = json_dumps(order, JSON_COMPACT);
	int done = order_is_shared(order) && line ? 0 : ERR_MALFORMED;

	if (done == 0)
		order_carry_out(&o, view_of(line));
	buf_fini(&o.lines);
	free(line);
	return done;
}

static bool obey(struct everywhere *e, const char *text)
{
	json_t *whole = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	const char *by = json_string_value(json_object_get(whole, "by"));
	const char *node = json_string_value(json_object_get(whole, "node"));
	const json_t *order = json_object_get(whole, "order");
	const char *what = json_string_value(json_object_get(order, "order"));
	const char *name = json_string_value(json_object_get(order, "name"));
	char *who = mem_printf("%s: %s", node ? node : "?", by ? by : "?");
	char quoted[LOG_QUOTE_BYTES], quoted_by[LOG_QUOTE_BYTES];
	int done = ERR_MALFORMED;

	if (what && name && strcmp(what, "file") == 0)
		done = obey_file(e, name, json_string_value(json_object_get(order, "text")));
	else if (what && by && node)
		done = obey_other(e, order, who);
	if (done < 0)
		log_error("cli", "order_refused", "name=%s by=%s why=\"%s\"",
			name ? log_quote(name, strlen(name), quoted) : "-",
			log_quote(who, strlen(who), quoted_by), err_text(done));
	else if (done > 0)
		log_info("cli", "operator", "order=file what=%s by=%s",
			log_quote(name, strlen(name), quoted),
			log_quote(who, strlen(who), quoted_by));
	free(who);
	json_decref(whole);
	return done > 0;
}

bool everywhere_look(struct everywhere *e)
{
	bool changed = false;
	struct item *i;

	while (e && (i = take(e)) != NULL) {
		if (i->name)
			tell_file(e, i);
		else
			changed |= obey(e, i->text);
		item_free(i);
	}
	return changed;
}
