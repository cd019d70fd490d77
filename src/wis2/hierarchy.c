/* A hierarchy is a set of tables and, besides, further known centres. The built-in tables are constant
 * data; others belong to the hierarchy they came with, and one with further centres refers to that. */
#include "wis2/hierarchy.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/mem.h"
#include "wis2/hierarchy_data.h"
#include "wis2/nearest.h"

struct hierarchy {
	atomic_uint references; /* of the built-in one: not used */
	bool is_built_in;
	struct hierarchy_table table;
	struct hierarchy *base; /* whose tables these are; NULL: the own ones, or the built-in */
	size_t centre_count;
	struct view *centres; /* owned: further known ones, in byte order */
	char *text;           /* owned: their bytes */
};

/* Constant, and therefore never counted: the functions that hand it out take the const away. */
static const struct hierarchy built_in = {
	.is_built_in = true,
	.table = {HIERARCHY_VERSION, hierarchy_text, hierarchy_centres, HIERARCHY_CENTRES,
		hierarchy_nodes, hierarchy_branches},
};

struct hierarchy *hierarchy_built_in(void)
{
	return (struct hierarchy *)&built_in;
}

struct hierarchy *hierarchy_ref(struct hierarchy *h)
{
	if (!h->is_built_in)
		atomic_fetch_add(&h->references, 1);
	return h;
}

static void free_table(const struct hierarchy_table *table)
{
	free((void *)(uintptr_t)table->version);
	free((void *)(uintptr_t)table->text);
	free((void *)(uintptr_t)table->centres);
	free((void *)(uintptr_t)table->nodes);
	free((void *)(uintptr_t)table->branches);
}

/* A base has none itself. */
void hierarchy_unref(struct hierarchy *h)
{
	while (h && !h->is_built_in && atomic_fetch_sub(&h->references, 1) == 1) {
		struct hierarchy *base = h->base;

		if (base == NULL)
			free_table(&h->table);
		free(h->centres);
		free(h->text);
		free(h);
		h = base;
	}
}

struct hierarchy *hierarchy_of_table(const struct hierarchy_table *table)
{
	struct hierarchy *h = mem_new(sizeof(*h));

	atomic_init(&h->references, 1);
	h->table = *table;
	return h;
}

const char *hierarchy_version(const struct hierarchy *h)
{
	return h->table.version;
}

static int compare(struct view a, struct view b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int order = n ? memcmp(a.p, b.p, n) : 0;

	return order ? order : (a.n > b.n) - (a.n < b.n);
}

static int compare_views(const void *a, const void *b)
{
	return compare(*(const struct view *)a, *(const struct view *)b);
}

/* Copies a name to the end of h's own text. */
static void add_centre(struct hierarchy *h, struct view name, size_t *used)
{
	if (name.n)
		memcpy(h->text + *used, name.p, name.n);
	h->centres[h->centre_count++] = (struct view){h->text + *used, name.n};
	*used += name.n;
}

struct hierarchy *hierarchy_with_centres(struct hierarchy *h, const struct view *names, size_t n)
{
	struct hierarchy *more = mem_new(sizeof(*more));
	size_t bytes = 1, used = 0;

	for (size_t i = 0; i < h->centre_count; i++)
		bytes += h->centres[i].n;
	for (size_t i = 0; i < n; i++)
		bytes += names[i].n;
	atomic_init(&more->references, 1);
	more->table = h->table;
	more->base = hierarchy_ref(h->base ? h->base : h);
	more->centres = mem_new((h->centre_count + n + 1) * sizeof(more->centres[0]));
	more->text = mem_new(bytes);
	for (size_t i = 0; i < h->centre_count; i++)
		add_centre(more, h->centres[i], &used);
	for (size_t i = 0; i < n; i++)
		add_centre(more, names[i], &used);
	qsort(more->centres, more->centre_count, sizeof(more->centres[0]), compare_views);
	return more;
}

static struct view name_view(const struct hierarchy *h, const struct hierarchy_name *name)
{
	return (struct view){h->table.text + name->at, name->length};
}

/* The first bytes of a name as a number that orders as the bytes do. */
static inline uint32_t prefix_of(const char *p, size_t n)
{
	uint32_t word = 0;

	if (n < sizeof(word)) {
		for (size_t i = 0; i < sizeof(word); i++)
			word = word << 8 | (i < n ? (unsigned char)p[i] : 0u);
		return word;
	}
	memcpy(&word, p, sizeof(word));
	return __builtin_bswap32(word);
}

/* The place of a name among `count` in byte order, or -1. Prefixes decide most comparisons. */
static int32_t find(const struct hierarchy *h, const struct hierarchy_name *names, size_t count,
	struct view name)
{
	uint32_t prefix = prefix_of(name.p, name.n);
	size_t low = 0, high = count;

	while (low < high) {
		size_t middle = (low + high) / 2;
		const struct hierarchy_name *candidate = &names[middle];
		uint32_t other = prefix_of(h->table.text + candidate->at, candidate->length);
		int order = prefix != other ? (prefix < other ? -1 : 1)
					    : compare(name, name_view(h, candidate));

		if (order == 0)
			return (int32_t)middle;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return -1;
}

bool hierarchy_knows_centre(const struct hierarchy *h, struct view centre)
{
	if (find(h, h->table.centres, h->table.centre_count, centre) >= 0)
		return true;
	return h->centre_count && bsearch(&centre, h->centres, h->centre_count,
					  sizeof(h->centres[0]), compare_views) != NULL;
}

unsigned hierarchy_child(const struct hierarchy *h, unsigned node, struct view name)
{
	const struct hierarchy_branch *branch = &h->table.branches[node];
	int32_t at = find(h, &h->table.nodes[branch->first], branch->count, name);

	return at < 0 ? HIERARCHY_NONE : branch->first + (unsigned)at;
}

bool hierarchy_is_leaf(const struct hierarchy *h, unsigned node)
{
	return h->table.branches[node].count == 0;
}

struct view hierarchy_nearest_child(const struct hierarchy *h, unsigned node, struct view name)
{
	const struct hierarchy_branch *branch = &h->table.branches[node];
	struct nearest nearest;

	nearest_init(&nearest, name);
	for (unsigned i = 0; i < branch->count; i++)
		nearest_try(&nearest, name_view(h, &h->table.nodes[branch->first + i]));
	return nearest.best;
}

struct view hierarchy_nearest_centre(const struct hierarchy *h, struct view name)
{
	struct nearest nearest;

	nearest_init(&nearest, name);
	for (size_t i = 0; i < h->table.centre_count; i++)
		nearest_try(&nearest, name_view(h, &h->table.centres[i]));
	for (size_t i = 0; i < h->centre_count; i++)
		nearest_try(&nearest, h->centres[i]);
	return nearest.best;
}
