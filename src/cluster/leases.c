/* cluster/leases.c - rows in order of name, found by halving */
#include "cluster/leases.h"

#include <stdlib.h>

#include "base/mem.h"

static struct lease_row *find(const struct lease_table *t, struct view name)
{
	uint32_t low = 0, high = t->count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		int order = view_order(name, view_of(t->rows[middle].name));

		if (order == 0)
			return &t->rows[middle];
		if (order > 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

void lease_set(struct lease_row *row, uint32_t slot, struct view run)
{
	free((char *)row->leases.run[slot]);
	row->leases.run[slot] = run.n ? mem_text_of(run) : NULL;
}

static void forget(struct lease_row *row)
{
	for (uint32_t slot = 0; slot < HOLDERS_MOST; slot++)
		lease_set(row, slot, VIEW(""));
}

void lease_name(struct buf *b, const struct lease_row *row, uint32_t slot)
{
	buf_printf(b, "%s/%u", row->name, slot);
}

/* False: not such a name. */
static bool parse_name(struct view lease, struct view *source, uint32_t *slot)
{
	size_t at = lease.n;
	uint32_t value = 0;

	while (at > 0 && lease.p[at - 1] != '/')
		at--;
	if (at < 2 || at == lease.n || lease.n - at > 2)
		return false;
	for (size_t i = at; i < lease.n; i++) {
		if (lease.p[i] < '0' || lease.p[i] > '9')
			return false;
		value = value * 10 + (uint32_t)(lease.p[i] - '0');
	}
	*source = (struct view){lease.p, at - 1};
	*slot = value;
	return value < HOLDERS_MOST;
}

static void take_lease(struct lease_table *t, struct view lease, struct view run, struct view own,
	struct buf *left)
{
	struct lease_row *row;
	struct view source;
	uint32_t slot;

	if (!parse_name(lease, &source, &slot))
		return;
	row = find(t, source);
	if (row) {
		lease_set(row, slot, run);
	} else if (view_equal(run, own)) {
		buf_append(left, lease.p, lease.n);
		buf_append(left, "", 1);
	}
}

bool lease_table_take(
	struct lease_table *t, const struct resp *reply, struct view run, struct buf *left)
{
	if (reply->type != RESP_ARRAY)
		return false;
	for (uint32_t i = 0; i < t->count; i++)
		forget(&t->rows[i]);
	for (uint32_t i = 0; i + 1 < reply->count; i += 2) {
		const struct resp *lease = resp_item(reply, i, RESP_STRING);
		const struct resp *holder = resp_item(reply, i + 1, RESP_STRING);

		if (lease && holder)
			take_lease(t, lease->text, holder->text, run, left);
	}
	return true;
}

void lease_table_fini(struct lease_table *t)
{
	for (uint32_t i = 0; i < t->count; i++) {
		forget(&t->rows[i]);
		free(t->rows[i].name);
	}
	free(t->rows);
	*t = (struct lease_table){0};
}

void lease_table_set(struct lease_table *t, char **names, uint32_t n)
{
	struct lease_table next = {mem_new((n + 1) * sizeof(struct lease_row)), n};

	for (uint32_t i = 0; i < n; i++) {
		const struct lease_row *was = find(t, view_of(names[i]));

		next.rows[i] = (struct lease_row){.name = names[i], .slot = HOLDER_NONE};
		if (was) {
			next.rows[i].slot = was->slot;
			next.rows[i].voice = was->voice;
		}
	}
	lease_table_fini(t);
	*t = next;
}
