/* From CSV files to the arrays that wis2/hierarchy.h describes.
 *
 *     files --> list of paths "weather/aviation/taf" in one text --> sorted by depth, parent, name:
 *     then children of one parent stand together --> branches by looking each parent up
 *
 * The fixed levels (1 to 3, 5, 6) are known to the judge by name. Their tables must name what it
 * knows; one that names more was made for another program.
 */
#include "wis2/hierarchy_tables.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/mem.h"
#include "wis2/hierarchy.h"

#define DISCIPLINES "earth-system-discipline/"
#define TEXT_LARGEST (16u * 1024u * 1024u)

/* The tables of the fixed levels, and what they must name. */
static const struct {
	struct view path;
	const char *names; /* parted by blanks */
	const char *may;   /* one more that may be named, or "" */
} fixed[] = {
	{VIEW("channel.csv"), "origin cache", "monitor"},
	{VIEW("version.csv"), "a", ""},
	{VIEW("system.csv"), "wis2", ""},
	{VIEW("notification-type.csv"), "data metadata", ""},
	{VIEW("data-policy.csv"), "core recommended", ""},
};
#define FIXED (sizeof(fixed) / sizeof(fixed[0]))

/* A path below the disciplines; or, at depth 0, a centre. */
struct entry {
	uint32_t at; /* in the text */
	uint32_t length;
	uint32_t name; /* offset of the last name in the path */
	uint32_t depth;
};

struct hierarchy_tables {
	struct buf text;
	struct entry *entries;
	size_t count;
	size_t size;
	unsigned fixed_seen; /* bit by bit */
	bool has_centres;
	bool has_disciplines;
};

struct hierarchy_tables *hierarchy_tables_new(void)
{
	return mem_new(sizeof(struct hierarchy_tables));
}

void hierarchy_tables_free(struct hierarchy_tables *t)
{
	if (t == NULL)
		return;
	buf_fini(&t->text);
	free(t->entries);
	free(t);
}

static bool refuse(struct buf *why, struct view path, const char *reason, struct view what)
{
	buf_printf(why, "%.*s: %s", VIEW_ARG(path), reason);
	if (what.n)
		buf_printf(why, ": %.*s", (int)(what.n < 80 ? what.n : 80), what.p);
	return false;
}

/* --- CSV (RFC 4180) --------------------------------------------------- */

struct row {
	struct view field[2]; /* the first two, quotes taken off; {NULL, 0}: not there */
};

/* A field from *rest on, which is left at its separator; *broken for an unclosed quote. */
static struct view read_field(struct view *rest, bool *broken)
{
	const char *p = rest->p, *end = rest->p + rest->n, *begin = p;
	struct view field;

	if (p < end && *p == '"') {
		for (begin = ++p; p < end; p++) {
			if (*p == '"' && (p + 1 == end || p[1] != '"'))
				break;
			p += *p == '"';
		}
		*broken |= p >= end;
		field = (struct view){begin, (size_t)((p < end ? p : end) - begin)};
		p += p < end;
	} else {
		while (p < end && *p != ',' && *p != '\n' && *p != '\r')
			p++;
		field = (struct view){begin, (size_t)(p - begin)};
	}
	*rest = view_skip(*rest, (size_t)(p - rest->p));
	return field;
}

/* The next row; false at the end. Columns behind the second are passed over. */
static bool read_row(struct view *rest, struct row *row, bool *broken)
{
	*row = (struct row){0};
	if (rest->n == 0)
		return false;
	for (unsigned column = 0;; column++) {
		struct view field = read_field(rest, broken);

		if (column < 2)
			row->field[column] = field;
		if (rest->n == 0 || *rest->p != ',')
			break;
		*rest = view_skip(*rest, 1);
	}
	if (rest->n && *rest->p == '\r')
		*rest = view_skip(*rest, 1);
	if (rest->n && *rest->p == '\n')
		*rest = view_skip(*rest, 1);
	else
		*broken |= rest->n > 0;
	return !*broken;
}

/* WTH 1.5: lower-case letters and digits, dashes between them. */
static bool is_name(struct view name)
{
	char before = '-';

	for (size_t i = 0; i < name.n; i++) {
		char c = name.p[i];

		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') &&
			!(c == '-' && before != '-'))
			return false;
		before = c;
	}
	return before != '-' && name.n <= HIERARCHY_NAME_LONGEST;
}

/* --- collecting ------------------------------------------------------- */

static bool add(struct hierarchy_tables *t, struct view parent, struct view name, uint32_t depth)
{
	struct entry *e;

	if (t->count == HIERARCHY_NAMES_MOST || buf_length(&t->text) > TEXT_LARGEST)
		return false;
	if (t->count == t->size) {
		t->size = t->size ? t->size * 2 : 1024;
		t->entries = mem_resize(t->entries, t->size * sizeof(*e));
	}
	e = &t->entries[t->count++];
	e->at = (uint32_t)buf_length(&t->text);
	if (parent.n) {
		buf_append(&t->text, parent.p, parent.n);
		buf_text(&t->text, "/");
	}
	e->name = (uint32_t)buf_length(&t->text) - e->at;
	buf_append(&t->text, name.p, name.n);
	e->length = (uint32_t)buf_length(&t->text) - e->at;
	e->depth = depth;
	return true;
}

static bool is_word_of(struct view name, const char *words)
{
	struct view rest = view_of(words);

	while (rest.p) {
		if (view_equal(view_cut(&rest, ' '), name))
			return true;
	}
	return false;
}

static unsigned count_words(const char *words)
{
	unsigned n = 1;

	for (; *words; words++)
		n += *words == ' ';
	return n;
}

/* What becomes of a table's rows. */
struct reading {
	struct hierarchy_tables *t;
	struct view path;
	struct view parent; /* of its names; {"", 0} for the disciplines */
	uint32_t depth;     /* of its names */
	bool is_flat;       /* two levels */
	int fixed;          /* number of a fixed level's table, or -1 */
	unsigned known;     /* names met that the fixed level has */
};

static bool take_fixed(struct reading *r, struct view name, struct buf *why)
{
	if (is_word_of(name, fixed[r->fixed].names))
		r->known++;
	else if (!is_word_of(name, fixed[r->fixed].may))
		return refuse(why, r->path, "a name this version does not know", name);
	return true;
}

/* "parent/satellite", as the parent of an instrument. */
static bool add_below(struct reading *r, const struct row *row)
{
	char *parent = mem_printf(
		"%.*s%s%.*s", VIEW_ARG(r->parent), r->parent.n ? "/" : "", VIEW_ARG(row->field[0]));
	bool added = add(r->t, view_of(parent), row->field[1], r->depth + 1);

	free(parent);
	return added;
}

static bool take_row(struct reading *r, const struct row *row, struct buf *why)
{
	if (row->field[0].n == 0 && row->field[1].n == 0)
		return true; /* an empty line */
	for (unsigned i = 0; i <= (unsigned)r->is_flat; i++) {
		if (!is_name(row->field[i]))
			return refuse(why, r->path, "not a name of the hierarchy", row->field[i]);
	}
	if (r->fixed >= 0)
		return take_fixed(r, row->field[0], why);
	if (!add(r->t, r->parent, row->field[0], r->depth) || (r->is_flat && !add_below(r, row)))
		return refuse(why, r->path, "too many names", VIEW(""));
	return true;
}

static bool read_rows(struct reading *r, struct view csv, struct buf *why)
{
	struct row row;
	bool broken = false;

	if (view_starts_with(csv, VIEW("\xef\xbb\xbf")))
		csv = view_skip(csv, 3);
	if (!read_row(&csv, &row, &broken) ||
		!view_equal(row.field[0], r->is_flat ? VIEW("satellite") : VIEW("Name")) ||
		(r->is_flat && !view_equal(row.field[1], VIEW("instrument"))))
		return refuse(why, r->path, "the first line is not that of such a table", VIEW(""));
	while (read_row(&csv, &row, &broken)) {
		if (!take_row(r, &row, why))
			return false;
	}
	return !broken || refuse(why, r->path, "not CSV", VIEW(""));
}

/* Where the names of earth-system-discipline/... stand. */
static bool place_of(struct reading *r, struct view below, struct buf *why)
{
	struct view file = below, rest = below;

	while (rest.p) {
		file = view_cut(&rest, '/');
		r->depth++;
	}
	if (r->depth > HIERARCHY_DEPTH_MOST)
		return refuse(why, r->path, "too deep", VIEW(""));
	r->is_flat = view_equal(file, VIEW("index-flat.csv"));
	r->parent = (struct view){below.p, (size_t)(file.p - below.p)};
	r->parent.n -= r->parent.n > 0; /* its slash */
	r->t->has_disciplines |= r->depth == 1;
	return true;
}

bool hierarchy_tables_wants(struct view path)
{
	struct view rest = path, file = path;

	for (size_t i = 0; i < FIXED; i++) {
		if (view_equal(path, fixed[i].path))
			return true;
	}
	while (rest.p)
		file = view_cut(&rest, '/');
	return view_equal(path, VIEW("centre-id.csv")) ||
	       (view_starts_with(path, VIEW(DISCIPLINES)) &&
		       (view_equal(file, VIEW("index.csv")) ||
			       view_equal(file, VIEW("index-flat.csv"))));
}

bool hierarchy_tables_add(
	struct hierarchy_tables *t, struct view path, struct view csv, struct buf *why)
{
	struct reading r = {.t = t, .path = path, .parent = VIEW(""), .fixed = -1};

	if (csv.n > HIERARCHY_TABLE_LARGEST)
		return refuse(why, path, "too large", VIEW(""));
	for (unsigned i = 0; i < FIXED; i++) {
		if (view_equal(path, fixed[i].path))
			r.fixed = (int)i;
	}
	if (view_equal(path, VIEW("centre-id.csv")))
		t->has_centres = true;
	else if (r.fixed < 0 && !place_of(&r, view_skip(path, sizeof(DISCIPLINES) - 1), why))
		return false;
	if (!read_rows(&r, csv, why))
		return false;
	if (r.fixed >= 0 && r.known != count_words(fixed[r.fixed].names))
		return refuse(why, path, "does not name each of", view_of(fixed[r.fixed].names));
	if (r.fixed >= 0)
		t->fixed_seen |= 1u << r.fixed;
	return true;
}

/* --- sorting and linking ---------------------------------------------- */

static struct view entry_parent(const struct hierarchy_tables *t, const struct entry *e)
{
	return (struct view){(const char *)buf_bytes(&t->text) + e->at, e->name ? e->name - 1 : 0};
}

static struct view entry_name(const struct hierarchy_tables *t, const struct entry *e)
{
	return (struct view){
		(const char *)buf_bytes(&t->text) + e->at + e->name, e->length - e->name};
}

static int compare_views(struct view a, struct view b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int order = n ? memcmp(a.p, b.p, n) : 0;

	return order ? order : (a.n > b.n) - (a.n < b.n);
}

/* By depth, then parent, then name. */
static int compare_entries(const void *a, const void *b, void *tables)
{
	const struct entry *x = a, *y = b;
	const struct hierarchy_tables *t = tables;
	int order;

	if (x->depth != y->depth)
		return x->depth < y->depth ? -1 : 1;
	order = compare_views(entry_parent(t, x), entry_parent(t, y));
	return order ? order : compare_views(entry_name(t, x), entry_name(t, y));
}

/* Satellites come once a row, and a row may come twice. */
static void sort_entries(struct hierarchy_tables *t)
{
	size_t kept = 0;

	qsort_r(t->entries, t->count, sizeof(*t->entries), compare_entries, t);
	for (size_t i = 0; i < t->count; i++) {
		if (kept == 0 || compare_entries(&t->entries[kept - 1], &t->entries[i], t) != 0)
			t->entries[kept++] = t->entries[i];
	}
	t->count = kept;
}

/* The entry whose path the child's parent is, or NULL. */
static const struct entry *find_parent(const struct hierarchy_tables *t, const struct entry *child)
{
	struct view path = entry_parent(t, child);
	struct entry key = {child->at, (uint32_t)path.n, 0, child->depth - 1};
	size_t low = 0, high = t->count;

	for (size_t i = path.n; i > 0 && key.name == 0; i--) {
		if (path.p[i - 1] == '/')
			key.name = (uint32_t)i;
	}
	while (low < high) {
		size_t middle = (low + high) / 2;
		int order = compare_entries(&key, &t->entries[middle], (void *)(uintptr_t)t);

		if (order == 0)
			return &t->entries[middle];
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

static size_t count_centres(const struct hierarchy_tables *t)
{
	size_t n = 0;

	while (n < t->count && t->entries[n].depth == 0)
		n++;
	return n;
}

static struct hierarchy_name name_of(const struct entry *e)
{
	return (struct hierarchy_name){e->at + e->name, e->length - e->name};
}

/* Fills nodes and branches from the entries behind the centres. */
static bool link_nodes(const struct hierarchy_tables *t, size_t centres,
	struct hierarchy_name *nodes, struct hierarchy_branch *branches, struct buf *why)
{
	for (size_t i = centres; i < t->count; i++) {
		const struct entry *e = &t->entries[i];
		const struct entry *parent = e->depth > 1 ? find_parent(t, e) : NULL;
		struct hierarchy_branch *branch =
			&branches[parent ? (size_t)(parent - t->entries) - centres + 1 : 0];

		if (e->depth > 1 && parent == NULL)
			return refuse(why, VIEW(DISCIPLINES), "no table names the level",
				entry_parent(t, e));
		nodes[i - centres + 1] = name_of(e);
		if (branch->count++ == 0)
			branch->first = (uint32_t)(i - centres + 1);
	}
	return true;
}

static bool is_whole(const struct hierarchy_tables *t, struct buf *why)
{
	for (unsigned i = 0; i < FIXED; i++) {
		if (!(t->fixed_seen >> i & 1))
			return refuse(why, fixed[i].path, "is missing", VIEW(""));
	}
	if (!t->has_centres)
		return refuse(why, VIEW("centre-id.csv"), "is missing", VIEW(""));
	if (!t->has_disciplines)
		return refuse(why, VIEW(DISCIPLINES "index.csv"), "is missing", VIEW(""));
	return true;
}

/* By what the tables hold, in order: the same tables always have the same name. */
static char *made_version(const struct hierarchy_tables *t)
{
	XXH64_hash_t hash = 0;

	for (size_t i = 0; i < t->count; i++)
		hash = XXH64(buf_bytes(&t->text) + t->entries[i].at, t->entries[i].length, hash);
	return mem_printf("tables-%08x", (unsigned)(hash & 0xffffffffu));
}

struct hierarchy *hierarchy_tables_finish(
	struct hierarchy_tables *t, struct view version, struct buf *why)
{
	struct hierarchy_name *centres, *nodes;
	struct hierarchy_branch *branches;
	struct hierarchy_table table;
	size_t count;

	if (!is_whole(t, why))
		return NULL;
	sort_entries(t);
	count = count_centres(t);
	if (count == 0 || count == t->count) {
		refuse(why, VIEW("centre-id.csv"), "no centre, or no discipline", VIEW(""));
		return NULL;
	}
	nodes = mem_new((t->count - count + 1) * sizeof(*nodes));
	branches = mem_new((t->count - count + 1) * sizeof(*branches));
	if (!link_nodes(t, count, nodes, branches, why)) {
		free(nodes);
		free(branches);
		return NULL;
	}
	centres = mem_new(count * sizeof(*centres));
	for (size_t i = 0; i < count; i++)
		centres[i] = name_of(&t->entries[i]);
	table = (struct hierarchy_table){version.n ? mem_text_of(version) : made_version(t),
		(const char *)t->text.data, centres, count, nodes, branches};
	t->text = (struct buf){0}; /* taken */
	return hierarchy_of_table(&table);
}
