/* The tree of filters.
 *
 *          (root)
 *         /      \
 *     "cache"    "+"          a node is one level of a filter; its values are those of the
 *        |        |           filter that ends there
 *       "a"      "b"
 *      /   \
 *    "+"   "#"
 *
 * The children of all nodes stand in one hash table, keyed by (parent, text of the level), so
 * that a node with a single child, which most are, costs no table of its own. The hash of a
 * level is seeded with its parent's hash, the root's with a random number. `+` and `#` children
 * are also reached by pointer, because every match asks for them.
 *
 * A match walks literal and `+` branches depth first, back up through the parents and back along
 * the topic: no recursion and no memory, however many levels a peer sends.
 *
 * Invariant: a node other than the root has values or children.
 */
#include "mqtt/tree.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/map.h"
#include "base/mem.h"
#include "mqtt/pointers.h"

#define TABLE_FIRST_SIZE 16u

struct node {
	struct node *parent; /* NULL: the root */
	struct node *plus;   /* child "+", or NULL */
	struct node *tail;   /* child "#", or NULL */
	struct pointers values;
	uint64_t hash;
	uint32_t children;
	uint32_t length;
	char text[];
};

struct filter_tree {
	struct node *root;
	struct node **table; /* NULL: free */
	size_t size;         /* power of two */
	size_t nodes;        /* without the root */
	size_t pairs;
};

static struct node *new_node(struct node *parent, struct view level, uint64_t hash)
{
	struct node *node = mem_new(sizeof(*node) + level.n);

	node->parent = parent;
	node->hash = hash;
	node->length = (uint32_t)level.n;
	if (level.n)
		memcpy(node->text, level.p, level.n);
	return node;
}

static struct view text_of(const struct node *node)
{
	return (struct view){node->text, node->length};
}

static bool is_wildcard(struct view level, char which)
{
	return level.n == 1 && level.p[0] == which;
}

struct filter_tree *filter_tree_new(void)
{
	struct filter_tree *t = mem_new(sizeof(*t));

	t->root = new_node(NULL, VIEW(""), map_seed());
	t->size = TABLE_FIRST_SIZE;
	t->table = mem_new(t->size * sizeof(struct node *));
	return t;
}

static void free_node(struct node *node)
{
	pointers_fini(&node->values);
	free(node);
}

void filter_tree_free(struct filter_tree *t)
{
	if (t == NULL)
		return;
	for (size_t i = 0; i < t->size; i++) {
		if (t->table[i])
			free_node(t->table[i]);
	}
	free_node(t->root);
	free(t->table);
	free(t);
}

/* Where the child is, or the free slot where it would go. */
static size_t find_slot(
	const struct filter_tree *t, const struct node *parent, struct view level, uint64_t hash)
{
	size_t at = hash & (t->size - 1);

	for (; t->table[at]; at = (at + 1) & (t->size - 1)) {
		const struct node *node = t->table[at];

		if (node->hash == hash && node->parent == parent &&
			view_equal(text_of(node), level))
			break;
	}
	return at;
}

static struct node *find_child(
	const struct filter_tree *t, const struct node *parent, struct view level)
{
	if (parent->children == 0)
		return NULL;
	return t->table[find_slot(t, parent, level, map_hash(level.p, level.n, parent->hash))];
}

static void grow(struct filter_tree *t)
{
	struct node **old = t->table;
	size_t old_size = t->size;

	t->size *= 2;
	t->table = mem_new(t->size * sizeof(struct node *));
	for (size_t i = 0; i < old_size; i++) {
		struct node *node = old[i];

		if (node)
			t->table[find_slot(t, node->parent, text_of(node), node->hash)] = node;
	}
	free(old);
}

/* The parent's pointer to a wildcard child; NULL for other levels. */
static struct node **shortcut(struct node *parent, struct view level)
{
	if (is_wildcard(level, '+'))
		return &parent->plus;
	return is_wildcard(level, '#') ? &parent->tail : NULL;
}

static struct node *add_child(struct filter_tree *t, struct node *parent, struct view level)
{
	uint64_t hash = map_hash(level.p, level.n, parent->hash);
	struct node *node = new_node(parent, level, hash);
	struct node **pointer = shortcut(parent, level);

	if (t->nodes * 3 >= t->size * 2)
		grow(t);
	t->table[find_slot(t, parent, level, hash)] = node;
	t->nodes++;
	parent->children++;
	if (pointer)
		*pointer = node;
	return node;
}

/* Moves later nodes of the run back so that no search stops early at the hole. */
static void close_hole(struct filter_tree *t, size_t hole)
{
	size_t mask = t->size - 1;
	size_t at = hole;

	for (;;) {
		at = (at + 1) & mask;
		if (t->table[at] == NULL)
			break;
		if (((at - (t->table[at]->hash & mask)) & mask) >= ((at - hole) & mask)) {
			t->table[hole] = t->table[at];
			hole = at;
		}
	}
	t->table[hole] = NULL;
}

static void remove_child(struct filter_tree *t, struct node *node)
{
	struct node **pointer = shortcut(node->parent, text_of(node));

	if (pointer)
		*pointer = NULL;
	node->parent->children--;
	close_hole(t, find_slot(t, node->parent, text_of(node), node->hash));
	t->nodes--;
	free_node(node);
}

void filter_tree_add(struct filter_tree *t, struct view filter, void *value)
{
	struct node *node = t->root;

	while (filter.p) {
		struct view level = view_cut(&filter, '/');
		struct node *child = find_child(t, node, level);

		node = child ? child : add_child(t, node, level);
	}
	t->pairs += pointers_add(&node->values, value);
}

bool filter_tree_remove(struct filter_tree *t, struct view filter, void *value)
{
	struct node *node = t->root;

	while (node && filter.p) {
		struct view level = view_cut(&filter, '/');

		node = find_child(t, node, level);
	}
	if (node == NULL || !pointers_remove(&node->values, value))
		return false;
	t->pairs--;
	while (node->parent && node->values.count == 0 && node->children == 0) {
		struct node *parent = node->parent;

		remove_child(t, node);
		node = parent;
	}
	return true;
}

/* Where a match stands: `node` matched the topic's levels that end before `next`. */
struct walk {
	const struct filter_tree *tree;
	const struct node *node;
	struct view topic;
	size_t next; /* start of the next level; topic.n + 1 behind the last */
	bool is_dollar;
	void (*on_match)(void *context, void *value);
	void *context;
};

static void give(const struct walk *w, const struct node *node)
{
	for (uint32_t i = 0; node && i < node->values.size; i++) {
		if (node->values.slots[i])
			w->on_match(w->context, node->values.slots[i]);
	}
}

static struct view next_level(const struct walk *w)
{
	struct view rest = view_skip(w->topic, w->next);

	return view_cut(&rest, '/');
}

/* A wildcard in the first level does not match a topic that begins with $. */
static bool is_hidden(const struct walk *w)
{
	return w->is_dollar && w->node->parent == NULL; /* [MQTT-4.7.2-1] */
}

/* What ends at the node: its own filter at the topic's end, and `#`, which also stands for no
 * level at all (MQTT 5, 4.7.1.2). */
static void give_here(const struct walk *w)
{
	if (!is_hidden(w))
		give(w, w->node->tail);
	if (w->next > w->topic.n)
		give(w, w->node);
}

static bool go_down(struct walk *w, const struct node *child, size_t length)
{
	if (child == NULL)
		return false;
	w->node = child;
	w->next += length + 1;
	return true;
}

/* To the parent; `next` then starts the level that the node had matched. */
static void go_up(struct walk *w)
{
	const char *slash = w->next >= 2 ? memrchr(w->topic.p, '/', w->next - 1) : NULL;

	w->next = slash ? (size_t)(slash + 1 - w->topic.p) : 0;
	w->node = w->node->parent;
}

static bool go_plus(struct walk *w)
{
	return w->next <= w->topic.n && !is_hidden(w) && w->node->plus &&
	       go_down(w, w->node->plus, next_level(w).n);
}

/* The first child: the literal one, else `+`. A topic has no wildcard, so that its levels never
 * find a wildcard child in the table. */
static bool go_first(struct walk *w)
{
	struct view level;

	if (w->next > w->topic.n || w->node->children == 0)
		return false;
	level = next_level(w);
	return go_down(w, find_child(w->tree, w->node, level), level.n) || go_plus(w);
}

/* From a finished node to the next branch: its `+` sibling, or that of the nearest ancestor. */
static bool go_next(struct walk *w)
{
	while (w->node->parent) {
		bool was_plus = w->node == w->node->parent->plus;

		go_up(w);
		if (!was_plus && go_plus(w))
			return true;
	}
	return false;
}

void filter_tree_match(const struct filter_tree *t, struct view topic,
	void (*on_match)(void *context, void *value), void *context)
{
	struct walk w = {
		.tree = t,
		.node = t->root,
		.topic = topic,
		.is_dollar = topic.n && topic.p[0] == '$',
		.on_match = on_match,
		.context = context,
	};

	do {
		give_here(&w);
	} while (go_first(&w) || go_next(&w));
}

size_t filter_tree_count(const struct filter_tree *t)
{
	return t->pairs;
}
