/* cluster/shares.c - a group's hash to a table, a table to steps */
#include "cluster/shares.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "cluster/holders.h"

void share_table_fini(struct share_table *t)
{
	free(t->members);
	*t = (struct share_table){0};
}

const char *share_seat_text(enum share_seat seat)
{
	static const char *const texts[] = {
		[SHARE_HELD] = "held",
		[SHARE_AWAY] = "away",
		[SHARE_SHORT] = "short",
		[SHARE_SEATED] = "seated",
	};

	return texts[seat];
}

/* --- reading ------------------------------------------------------------------ */

/* A number of `base` that is all of the text. */
static bool read_number(struct view text, int base, uint64_t *out)
{
	char digits[24];
	char *end;

	if (text.n == 0 || text.n >= sizeof(digits))
		return false;
	memcpy(digits, text.p, text.n);
	digits[text.n] = '\0';
	*out = strtoull(digits, &end, base);
	return *end == '\0' && digits[0] != '-' && digits[0] != '+';
}

static void read_shard(struct share_table *t, const struct share_table *before, struct view field,
	struct view value, uint64_t now_ms)
{
	struct view run = view_cut(&value, ' ');
	struct share_row *row;
	uint64_t shard, place;

	if (!read_number(view_skip(field, 1), 10, &shard) || shard >= SHARDS || run.n == 0 ||
		run.n >= SHARE_RUN_BYTES || !read_number(value, 16, &place))
		return;
	row = &t->shards[shard];
	row->since_ms = view_equal(run, view_of(before->shards[shard].run))
				? before->shards[shard].since_ms
				: now_ms;
	memcpy(row->run, run.p, run.n);
	row->run[run.n] = '\0';
	row->place = place;
}

static void read_member(struct share_table *t, struct view name, struct view value)
{
	struct view start = view_cut(&value, ' ');
	struct share_member *m = &t->members[t->member_count];
	uint64_t number;

	if (!node_name_is_good(name) || !read_number(start, 16, &number))
		return;
	snprintf(m->run, sizeof(m->run), "%.*s/%.*s", (int)name.n, name.p, (int)start.n, start.p);
	m->seat = SHARE_HELD;
	for (enum share_seat seat = SHARE_HELD; seat < SHARE_SEATS; seat++) {
		if (view_equal(value, view_of(share_seat_text(seat))))
			m->seat = seat;
	}
	t->member_count++;
}

void share_table_take(struct share_table *t, const struct resp *reply, uint64_t now_ms)
{
	uint32_t n = reply->type == RESP_ARRAY ? reply->count / 2 : 0;
	struct share_table before = *t;

	if (reply->type != RESP_ARRAY)
		return;
	*t = (struct share_table){
		.members = mem_new((n + 1) * sizeof(*t->members)), .is_read = true};
	for (uint32_t i = 0; i < n; i++) {
		const struct resp *field = resp_item(reply, 2 * i, RESP_STRING);
		const struct resp *value = resp_item(reply, 2 * i + 1, RESP_STRING);

		if (field == NULL || value == NULL || field->text.n == 0)
			continue;
		if (field->text.p[0] == '#')
			read_shard(t, &before, field->text, value->text, now_ms);
		else
			read_member(t, field->text, value->text);
	}
	share_table_fini(&before);
}

/* --- deciding ------------------------------------------------------------------ */

/* It lives, and is not about to leave. */
static const struct node *node_of(const struct nodes *nodes, const struct share_member *m)
{
	const struct node *node = nodes_by_run(nodes, view_of(m->run));

	return node && !node->draining ? node : NULL;
}

/* Of those with the best seat, if that is `least` or better, the run that is to have it; NULL: none. */
static const char *wanted(const struct share_table *t, const struct nodes *nodes, struct view what,
	enum share_seat least)
{
	const char *best = NULL;
	uint64_t most = 0;

	for (uint32_t i = 0; i < t->member_count; i++) {
		const struct share_member *m = &t->members[i];
		const struct node *node = node_of(nodes, m);
		uint64_t weight;

		if (node == NULL || m->seat < least)
			continue;
		weight = holder_weight(what, node->name);
		if (best == NULL || m->seat > least || weight > most) {
			best = m->run;
			most = weight;
		}
		least = m->seat;
	}
	return best;
}

static const struct share_member *member(const struct share_table *t, const char *run)
{
	for (uint32_t i = 0; i < t->member_count; i++) {
		if (strcmp(t->members[i].run, run) == 0)
			return &t->members[i];
	}
	return NULL;
}

bool share_is_resting(const struct share_table *t, const char *run)
{
	const struct share_member *m = member(t, run);

	return m && m->seat != SHARE_SEATED;
}

/* The nodes may have been read before it began. */
static bool may_be_new(const struct nodes *nodes, const struct share_row *row)
{
	struct view start = view_of(row->run);
	const struct node *node = nodes_find(nodes, view_cut(&start, '/'));
	uint64_t number;

	if (!read_number(start, 16, &number) || (node && node->start >= number))
		return false;
	return nodes->taken_ms < row->since_ms + NODE_SILENT_MS;
}

/* Lives, and has sessions of the group: it hands over by itself. */
static bool is_there(
	const struct share_table *t, const struct nodes *nodes, const struct share_row *row)
{
	return member(t, row->run) &&
	       (nodes_by_run(nodes, view_of(row->run)) || may_be_new(nodes, row));
}

enum share_step share_decide(const struct share_table *t, const struct nodes *nodes,
	struct view group, bool whole, uint32_t shard, const char *me, const char **to)
{
	const struct share_row *row = &t->shards[shard];
	struct buf what = {0};
	const char *best;

	buf_append(&what, group.p, group.n);
	if (!whole)
		buf_printf(&what, "#%u", shard);
	best = wanted(t, nodes, buf_view(&what), whole ? SHARE_SHORT : SHARE_SEATED);
	if (best == NULL && whole && row->run[0] && !is_there(t, nodes, row))
		best = wanted(t, nodes, buf_view(&what), SHARE_HELD);
	buf_fini(&what);
	*to = best ? best : me;
	if (row->run[0] == '\0')
		return SHARE_CLAIM;
	if (strcmp(row->run, *to) == 0)
		return SHARE_STAY;
	if (strcmp(row->run, me) == 0)
		return SHARE_HAND_OVER;
	if (best == NULL || strcmp(best, me) != 0)
		return SHARE_STAY;
	return is_there(t, nodes, row) ? SHARE_AWAIT : SHARE_TAKE;
}

bool share_has_others(const struct share_table *t, const struct nodes *nodes, const char *me)
{
	for (uint32_t i = 0; i < t->member_count; i++) {
		if (strcmp(t->members[i].run, me) != 0 && node_of(nodes, &t->members[i]))
			return true;
	}
	return false;
}
