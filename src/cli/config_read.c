/* cli/config_read.c - a YAML mapping read by the table of keys
 *
 *     key --> row of config.def --> scalar: words replaced --> judged by its type --> stored
 *                               --> list: each item the same
 *                               --> group: the mapping below, names with a dot
 *
 * **Invariant:** every key of a file is either stored, equal to what this version does anyway, or a
 * fault. Nothing is ignored.
 */
#include "cli/config_keys.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"

#define NAME_BYTES 96u /* longest dotted name */
#define NAMES_MOST 64u /* keys of one mapping */

struct place config_place(const struct config_reader *r, const struct yaml *y)
{
	return (struct place){r->file, y ? y->line : 1, y ? y->column : 1};
}

void config_fault(const struct config_reader *r, const struct yaml *y, const char *name,
	const char *format, ...)
{
	char key[NAME_BYTES * 2];
	struct buf text = {0};
	va_list args;

	snprintf(key, sizeof(key), "%s%s", r->path, name);
	va_start(args, format);
	buf_vprintf(&text, format, args);
	va_end(args);
	fault_add(r->faults, config_place(r, y), key, "%.*s", VIEW_ARG(buf_view(&text)));
	buf_fini(&text);
}

const struct config_key *config_key_find(enum config_section section, const char *name)
{
	for (size_t i = 0; i < config_key_count; i++)
		if (config_keys[i].section == section && strcmp(config_keys[i].name, name) == 0)
			return &config_keys[i];
	return NULL;
}

const struct yaml *config_find(const struct yaml *map, const char *name)
{
	if (map == NULL || map->kind != YAML_MAP)
		return NULL;
	for (uint32_t i = 0; i + 1 < map->count; i += 2)
		if (map->items[i]->kind == YAML_SCALAR && strcmp(map->items[i]->text, name) == 0)
			return map->items[i + 1];
	return NULL;
}

/* --- storing ---------------------------------------------------------- */

static void *slot(const struct config_key *k, void *owner)
{
	return (char *)owner + k->offset;
}

static void store_number(const struct config_key *k, void *owner, uint64_t value)
{
	uint8_t one = (uint8_t)value;
	uint16_t two = (uint16_t)value;
	uint32_t four = (uint32_t)value;

	switch (k->size) {
	case sizeof(one):
		memcpy(slot(k, owner), &one, sizeof(one));
		break;
	case sizeof(two):
		memcpy(slot(k, owner), &two, sizeof(two));
		break;
	case sizeof(four):
		memcpy(slot(k, owner), &four, sizeof(four));
		break;
	default:
		memcpy(slot(k, owner), &value, sizeof(value));
	}
}

static void store_text(const struct config_key *k, void *owner, char **made)
{
	char **to = slot(k, owner);

	free(*to);
	*to = *made;
	*made = NULL;
}

static void store(const struct config_key *k, void *owner, struct config_value *v)
{
	if (config_type(k->type)->is_text)
		store_text(k, owner, &v->made);
	else
		store_number(k, owner, v->number);
}

/* --- fallbacks -------------------------------------------------------- */

static void judge_fallback(const struct config_key *k, struct config_value *v)
{
	bool good;

	v->text = view_of(k->fallback);
	v->folder = "";
	good = config_type(k->type)->one(k, v);
	check(good);
}

/* Parts of a fallback list, as many as there are; *rest ends with p == NULL. */
static bool next_part(struct view *rest, struct view *part)
{
	while (rest->p) {
		*part = view_cut(rest, ' ');
		if (part->n)
			return true;
	}
	return false;
}

static void add_item(const struct config_key *k, void *owner, struct view item)
{
	char ***list = slot(k, owner);
	uint32_t *n = (uint32_t *)(void *)((char *)owner + k->count_offset);

	*list = mem_resize(*list, (*n + 1) * sizeof(**list));
	(*list)[(*n)++] = mem_text_of(item);
}

static void clear_list(const struct config_key *k, void *owner)
{
	char ***list = slot(k, owner);
	uint32_t *n = (uint32_t *)(void *)((char *)owner + k->count_offset);

	for (uint32_t i = 0; i < *n; i++)
		free((*list)[i]);
	free(*list);
	*list = NULL;
	*n = 0;
}

void config_defaults(enum config_section section, void *owner)
{
	for (size_t i = 0; i < config_key_count; i++) {
		const struct config_key *k = &config_keys[i];
		struct config_value v = {.owner = owner};
		struct view rest = view_of(k->fallback);
		struct view part;

		if (k->section != section || k->fallback == NULL)
			continue;
		if (config_type(k->type)->one) {
			judge_fallback(k, &v);
			store(k, owner, &v);
			free(v.made);
		}
		while (config_type(k->type)->item && next_part(&rest, &part))
			add_item(k, owner, part);
	}
}

/* --- faults about values ---------------------------------------------- */

static void fault_words(struct buf *out, const char *words)
{
	for (const char *p = words; *p; p++)
		buf_append(out, *p == '|' ? ", " : p, *p == '|' ? 2 : 1);
	buf_text(out, words[0] ? " are" : "");
}

static void fault_value_of(struct config_reader *r, const struct config_key *k,
	const struct yaml *y, const struct config_value *v)
{
	char shown[FAULT_VALUE_BYTES * 4 + 8];
	const struct config_type *type = config_type(k->type);
	const char *words = v->right ? v->right : type->right;
	struct buf right = {0};

	if (words)
		buf_printf(&right, "%s", words);
	else
		fault_words(&right, k->words);
	config_fault(r, y, k->name, "%s %s%s%s; %.*s right",
		v->secret ? "the value" : fault_value(v->text, shown),
		v->wrong ? v->wrong : type->wrong, v->bound[0] ? " " : "", v->bound,
		VIEW_ARG(buf_view(&right)));
	buf_fini(&right);
}

/* --- one value -------------------------------------------------------- */

static void fault_shape(struct config_reader *r, const struct config_key *k, const struct yaml *y,
	const char *right)
{
	static const char *const shapes[] = {"one value", "a list", "a mapping"};

	if (yaml_is_null(y))
		config_fault(r, y, k->name, "has no value; give %s or leave the line out", right);
	else
		config_fault(r, y, k->name, "is %s; %s is right", shapes[y->kind], right);
}

void config_read_one(
	struct config_reader *r, const struct config_key *k, const struct yaml *y, void *owner)
{
	struct config_value v = {.folder = r->folder, .owner = owner};
	struct buf text = {0};

	if (y->kind != YAML_SCALAR || yaml_is_null(y)) {
		fault_shape(r, k, y, "one value");
		return;
	}
	if (config_expand(r, k->name, y, &text, &v.secret)) {
		v.text = view_of((const char *)buf_bytes(&text));
		v.secret |= k->type == TYPE_SECRET || k->type == TYPE_HASH ||
			    k->type == TYPE_MQTT_URL || k->type == TYPE_LISTENER_URL;
		if (!config_type(k->type)->one(k, &v))
			fault_value_of(r, k, y, &v);
		else
			store(k, owner, &v);
	}
	free(v.made);
	buf_fini(&text);
}

/* --- lists ------------------------------------------------------------ */

/* Judges an item and adds it. */
static void read_item(
	struct config_reader *r, const struct config_key *k, const struct yaml *y, void *owner)
{
	struct config_value v = {.folder = r->folder};
	struct buf text = {0};

	if (y->kind != YAML_SCALAR || yaml_is_null(y)) {
		fault_shape(r, k, y, "one value");
		return;
	}
	if (config_expand(r, k->name, y, &text, &v.secret)) {
		v.text = view_of((const char *)buf_bytes(&text));
		v.secret |= k->type == TYPE_REDIS_URLS;
		if (!config_type(k->type)->item(k, &v))
			fault_value_of(r, k, y, &v);
		else
			add_item(k, owner, v.text);
	}
	free(v.made);
	buf_fini(&text);
}

/* A single value stands for a list of one. */
static void read_list(
	struct config_reader *r, const struct config_key *k, const struct yaml *y, void *owner)
{
	uint32_t n = y->kind == YAML_LIST ? y->count : 1;

	if (y->kind == YAML_MAP || yaml_is_null(y)) {
		fault_shape(r, k, y, "a list");
		return;
	}
	clear_list(k, owner);
	for (uint32_t i = 0; i < n; i++)
		read_item(r, k, y->kind == YAML_LIST ? y->items[i] : y, owner);
}

/* --- mappings --------------------------------------------------------- */

static bool has_dot(const char *name)
{
	return strchr(name, '.') != NULL;
}

/* Names of the keys one level below prefix. */
static size_t names_below(
	enum config_section section, const char *prefix, const char *names[NAMES_MOST])
{
	size_t n = 0;
	size_t skip = strlen(prefix);

	for (size_t i = 0; i < config_key_count && n < NAMES_MOST; i++)
		if (config_keys[i].section == section &&
			strncmp(config_keys[i].name, prefix, skip) == 0 &&
			!has_dot(config_keys[i].name + skip))
			names[n++] = config_keys[i].name + skip;
	return n;
}

static void fault_unknown(struct config_reader *r, enum config_section section, const char *prefix,
	const struct yaml *key)
{
	const char *names[NAMES_MOST];
	size_t n = names_below(section, prefix, names);
	const char *nearest = nearest_name(view_of(key->text), names, n);
	char name[NAME_BYTES];
	struct buf all = {0};

	snprintf(name, sizeof(name), "%s%s", prefix, key->text);
	for (char *p = name; *p; p++)
		if ((unsigned char)*p < 0x20)
			*p = '?';
	for (size_t i = 0; i < n; i++)
		buf_printf(&all, "%s%s", i ? ", " : "", names[i]);
	if (has_dot(key->text) && config_key_find(section, key->text))
		config_fault(
			r, key, name, "unknown key; write the parts below each other, indented");
	else if (nearest)
		config_fault(r, key, name, "unknown key; %s%s is the nearest one known", prefix,
			nearest);
	else
		config_fault(
			r, key, name, "unknown key; known here are %.*s", VIEW_ARG(buf_view(&all)));
	buf_fini(&all);
}

/* The line of an earlier key of this name, or 0. */
static uint32_t earlier(const struct yaml *map, uint32_t at)
{
	for (uint32_t i = 0; i < at; i += 2)
		if (map->items[i]->kind == YAML_SCALAR &&
			strcmp(map->items[i]->text, map->items[at]->text) == 0)
			return map->items[i]->line;
	return 0;
}

static void read_value(
	struct config_reader *r, const struct config_key *k, const struct yaml *y, void *owner)
{
	const struct config_type *type = config_type(k->type);

	if (type->tree)
		type->tree(r, k, y, owner);
	else if (type->item)
		read_list(r, k, y, owner);
	else
		config_read_one(r, k, y, owner);
}

static void read_pair(struct config_reader *r, enum config_section section, const char *prefix,
	const struct yaml *map, uint32_t i, void *owner)
{
	const struct yaml *key = map->items[i];
	const struct config_key *k;
	char name[NAME_BYTES];
	uint32_t line;

	if (key->kind != YAML_SCALAR || key->tag[0]) {
		config_fault(r, key, prefix, "a key is not a plain word; \"key: value\" is right");
		return;
	}
	snprintf(name, sizeof(name), "%s%s", prefix, key->text);
	line = earlier(map, i);
	k = has_dot(key->text) ? NULL : config_key_find(section, name);
	if (k == NULL)
		fault_unknown(r, section, prefix, key);
	else if (line)
		config_fault(r, key, name, "given twice, first in line %u; keep one of them", line);
	else
		read_value(r, k, map->items[i + 1], owner);
}

void config_read_map(struct config_reader *r, enum config_section section, const char *prefix,
	const struct yaml *map, void *owner)
{
	if (yaml_is_null(map))
		return;
	if (map->kind != YAML_MAP || map->tag[0]) {
		config_fault(r, map, prefix, "not a mapping; \"key: value\" lines are right");
		return;
	}
	if (map->count > 2 * 1024) {
		config_fault(r, map, prefix, "more than 1024 keys; each key stands once");
		return;
	}
	for (uint32_t i = 0; i + 1 < map->count; i += 2)
		read_pair(r, section, prefix, map, i, owner);
}

void type_group(
	struct config_reader *r, const struct config_key *k, const struct yaml *y, void *owner)
{
	char prefix[NAME_BYTES];

	snprintf(prefix, sizeof(prefix), "%s.", k->name);
	if (y->kind == YAML_MAP || yaml_is_null(y))
		config_read_map(r, k->section, prefix, y, owner);
	else
		fault_shape(r, k, y, "a mapping");
}
