/* cluster/nodes.c - a table in order of name, brought up to date by each reply */
#include "cluster/nodes.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/mem.h"

#define START_DIGITS 16
#define FIGURE_MOST (UINT64_MAX >> 12) /* NODES_MOST of them have a sum */

static const struct {
	unsigned role;
	struct view name;
} roles[] = {{NODE_SOURCES, VIEW("sources")}, {NODE_SUBSCRIBERS, VIEW("subscribers")}};

#define ROLE_COUNT (sizeof(roles) / sizeof(roles[0]))

enum node_join { NONE, SUM, MOST };

static const struct {
	struct view word;
	enum node_join join;
} figures[NODE_FIGURES] = {
#define X(symbol, word, name, unit, join, topic) [NODE_##symbol] = {VIEW(word), join},
#include "cluster/node_figure.def"
#undef X
};

/* --- fields -------------------------------------------------------------- */

bool node_name_is_good(struct view name)
{
	for (size_t i = 0; i < name.n; i++) {
		char c = name.p[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			    c == '.' || c == '-' || c == '_'))
			return false;
	}
	return name.n >= 1 && name.n <= NODE_NAME_MOST;
}

void node_say(struct buf *b, const struct node_words *words)
{
	const char *between = "";

	buf_printf(b, "%016" PRIx64 " %" PRIu64 " %s ", words->start, words->beat,
		words->left       ? "left"
		: words->draining ? "draining"
				  : "up");
	for (size_t i = 0; i < ROLE_COUNT; i++) {
		if (words->roles & roles[i].role) {
			buf_printf(b, "%s%s", between, roles[i].name.p);
			between = ",";
		}
	}
	buf_printf(b, "%s %s %s", words->roles ? "" : "-", words->version,
		words->advertise ? words->advertise : "-");
	for (unsigned i = 0; words->figures && i < NODE_FIGURES; i++)
		if (words->figures[i] != NODE_UNTOLD)
			buf_printf(b, " %s=%" PRIu64, figures[i].word.p, words->figures[i]);
}

static bool parse_number(struct view text, unsigned base, uint64_t *out)
{
	uint64_t value = 0;

	for (size_t i = 0; i < text.n; i++) {
		char c = text.p[i];
		unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
				 : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
							: base;

		if (digit >= base || value > (UINT64_MAX - digit) / base)
			return false;
		value = value * base + digit;
	}
	*out = value;
	return text.n > 0;
}

static unsigned parse_roles(struct view text)
{
	unsigned found = 0;

	while (text.n) {
		struct view word = view_cut(&text, ',');

		for (size_t i = 0; i < ROLE_COUNT; i++)
			found |= view_equal(word, roles[i].name) ? roles[i].role : 0;
	}
	return found;
}

static char *known_text(struct view word)
{
	return word.n == 1 && word.p[0] == '-' ? mem_text("") : mem_text_of(word);
}

/* Words that are not known here belong to another version. */
static void parse_figures(struct view text, uint64_t out[NODE_FIGURES])
{
	for (unsigned i = 0; i < NODE_FIGURES; i++)
		out[i] = NODE_UNTOLD;
	while (text.n) {
		struct view number = view_cut(&text, ' ');
		struct view word = view_cut(&number, '=');

		for (unsigned i = 0; i < NODE_FIGURES; i++) {
			uint64_t value;

			if (view_equal(word, figures[i].word) && parse_number(number, 10, &value))
				out[i] = value <= FIGURE_MOST ? value : NODE_UNTOLD;
		}
	}
}

static bool parse_field(struct view text, struct node *out)
{
	struct view start = view_cut(&text, ' ');
	struct view beat = view_cut(&text, ' ');
	struct view phase = view_cut(&text, ' ');
	struct view role_words = view_cut(&text, ' ');
	struct view version = view_cut(&text, ' ');
	struct view advertise = view_cut(&text, ' ');

	if (start.n != START_DIGITS || !parse_number(start, 16, &out->start) ||
		!parse_number(beat, 10, &out->beat) || version.n == 0 || advertise.n == 0)
		return false;
	out->draining = !view_equal(phase, VIEW("up"));
	out->left = view_equal(phase, VIEW("left"));
	out->roles = parse_roles(role_words);
	out->version = known_text(version);
	out->advertise = known_text(advertise);
	parse_figures(text, out->figures);
	return true;
}

/* --- the table ------------------------------------------------------------ */

static void node_fini(struct node *node)
{
	free(node->name);
	free(node->field);
	free(node->version);
	free(node->advertise);
}

void nodes_fini(struct nodes *n)
{
	for (uint32_t i = 0; i < n->count; i++)
		node_fini(&n->list[i]);
	free(n->list);
	*n = (struct nodes){0};
}

void nodes_copy(struct nodes *to, const struct nodes *from)
{
	nodes_fini(to);
	*to = *from;
	to->list = mem_new((from->count + 1) * sizeof(*to->list));
	for (uint32_t i = 0; i < from->count; i++) {
		const struct node *node = &from->list[i];

		to->list[i] = *node;
		to->list[i].name = mem_text(node->name);
		to->list[i].field = mem_text(node->field);
		to->list[i].version = mem_text(node->version);
		to->list[i].advertise = mem_text(node->advertise);
	}
}

/* Where it stands or belongs. */
static uint32_t place_of(const struct nodes *n, struct view name, bool *found)
{
	uint32_t low = 0, high = n->count;

	*found = false;
	while (low < high && !*found) {
		uint32_t middle = low + (high - low) / 2;
		int order = view_order(name, view_of(n->list[middle].name));

		if (order > 0) {
			low = middle + 1;
		} else {
			high = middle;
			*found = order == 0;
		}
	}
	return high;
}

const struct node *nodes_find(const struct nodes *n, struct view name)
{
	bool found;
	uint32_t at = place_of(n, name, &found);

	return found ? &n->list[at] : NULL;
}

static struct node *add(struct nodes *n, uint32_t at, struct view name)
{
	n->list = mem_resize(n->list, (n->count + 1) * sizeof(*n->list));
	memmove(&n->list[at + 1], &n->list[at], (n->count - at) * sizeof(*n->list));
	n->count++;
	n->list[at] = (struct node){.name = mem_text_of(name)};
	return &n->list[at];
}

/* True: another run, or one with other words, has taken the place. */
static bool take_field(struct node *node, struct view field, uint64_t now_ms)
{
	struct node now = {0};
	bool is_other;

	if (node->field && view_equal(view_of(node->field), field))
		return false;
	if (!parse_field(field, &now))
		return false;
	is_other = node->field == NULL || node->start != now.start || node->roles != now.roles ||
		   node->draining != now.draining || strcmp(node->advertise, now.advertise) != 0;
	now.name = mem_text(node->name);
	now.field = mem_text_of(field);
	now.alive = node->alive;
	now.changed_ms = now_ms;
	node_fini(node);
	*node = now;
	return is_other;
}

static bool take_all(struct nodes *n, const struct resp *fields, uint64_t now_ms)
{
	bool changed = false;

	for (uint32_t i = 0; i + 1 < fields->count; i += 2) {
		const struct resp *name = resp_item(fields, i, RESP_STRING);
		const struct resp *field = resp_item(fields, i + 1, RESP_STRING);
		struct node ignored = {0};
		bool found;
		uint32_t at;

		if (name == NULL || field == NULL || !node_name_is_good(name->text))
			continue;
		at = place_of(n, name->text, &found);
		if (!found && (n->count == NODES_MOST || !parse_field(field->text, &ignored)))
			continue;
		free(ignored.version);
		free(ignored.advertise);
		if (!found)
			add(n, at, name->text);
		changed |= take_field(&n->list[at], field->text, now_ms);
		n->list[at].listed = true;
	}
	return changed;
}

static void drop_unlisted(struct nodes *n)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < n->count; i++) {
		if (n->list[i].listed)
			n->list[kept++] = n->list[i];
		else
			node_fini(&n->list[i]);
	}
	n->count = kept;
}

bool nodes_take(struct nodes *n, const struct resp *fields, uint64_t now_ms)
{
	bool anew = n->taken_ms && now_ms - n->taken_ms >= NODE_SILENT_MS;
	bool changed = false;
	uint32_t before = n->count;

	for (uint32_t i = 0; i < n->count; i++)
		n->list[i].listed = false;
	changed = take_all(n, fields, now_ms);
	drop_unlisted(n);
	changed |= n->count < before;
	for (uint32_t i = 0; i < n->count; i++) {
		struct node *node = &n->list[i];
		bool was = node->alive;

		if (anew)
			node->changed_ms = now_ms;
		node->alive = !node->left && now_ms - node->changed_ms < NODE_SILENT_MS;
		changed |= was != node->alive;
	}
	n->taken_ms = now_ms;
	if (changed)
		n->settled_ms = now_ms;
	return changed;
}

/* --- how it is -------------------------------------------------------------- */

const char *node_mode_text(uint64_t mode)
{
	static const char *const texts[] = {
		[MODE_OK] = "ok",
		[MODE_DEGRADED] = "degraded",
		[MODE_COMMITTING] = "committing",
		[MODE_HOLDING] = "holding",
		[MODE_SPOOLING] = "spooling",
		[MODE_LOCAL] = "local",
		[MODE_FAILED] = "failed",
	};

	return mode < MODE_MODES ? texts[mode] : "unknown";
}

enum node_state node_state(const struct node *node)
{
	if (!node->alive)
		return node->left ? NODE_LEFT : NODE_DEAD;
	return node->draining ? NODE_DRAINING : NODE_ALIVE;
}

const char *node_state_text(enum node_state state)
{
	static const char *const texts[] = {
		[NODE_ALIVE] = "alive",
		[NODE_DRAINING] = "draining",
		[NODE_LEFT] = "left",
		[NODE_DEAD] = "dead",
	};

	return texts[state];
}

static void join_figure(uint64_t *sum, uint64_t value, enum node_join join)
{
	if (value == NODE_UNTOLD || join == NONE)
		return;
	if (*sum == NODE_UNTOLD)
		*sum = value;
	else if (join == SUM)
		*sum += value;
	else if (value > *sum)
		*sum = value;
}

void nodes_sum(const struct nodes *n, struct nodes_sum *out)
{
	*out = (struct nodes_sum){0};
	for (unsigned f = 0; f < NODE_FIGURES; f++)
		out->figures[f] = NODE_UNTOLD;
	for (uint32_t i = 0; i < n->count; i++) {
		const struct node *node = &n->list[i];

		out->states[node_state(node)]++;
		for (unsigned f = 0; node->alive && f < NODE_FIGURES; f++)
			join_figure(&out->figures[f], node->figures[f], figures[f].join);
	}
}

/* --- who it is -------------------------------------------------------------- */

bool node_serves(const struct node *node, unsigned role)
{
	return node->alive && !node->draining && (node->roles & role);
}

void node_run(struct buf *b, const char *name, uint64_t start)
{
	buf_printf(b, "%s/%016" PRIx64, name, start);
}

const struct node *nodes_by_run(const struct nodes *n, struct view run)
{
	struct view rest = run;
	const struct node *node = nodes_find(n, view_cut(&rest, '/'));
	uint64_t start;

	if (node == NULL || !node->alive || !parse_number(rest, 16, &start))
		return NULL;
	return node->start == start ? node : NULL;
}

bool nodes_may_have_run(const struct nodes *n, struct view run)
{
	struct view rest = run;
	const struct node *node = nodes_find(n, view_cut(&rest, '/'));
	uint64_t start;

	if (!parse_number(rest, 16, &start))
		return false;
	return node == NULL || node->start < start || nodes_by_run(n, run);
}
