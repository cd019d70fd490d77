/* What a running broker has done, for whoever compares it with another: by identities, in small pieces, each
 * asked for by the place where the one before ended. So the broker keeps nothing for who watches, and one in
 * shadow can be watched though it serves nobody.
 */
#include <stdlib.h>

#include "cli/cli.h"
#include "cli/control_orders.h"
#include "commit/gate.h"
#include "report/report.h"

#define RECORDS_MOST 5000u /* of one answer */
#define LINES_BYTES (1u << 20)
#define REFUSED_MOST 1000u

/* --- what was taken --------------------------------------------------- */

static struct view topic_of(const struct journal_segment *s, const struct journal_entry *e)
{
	const uint8_t *at = s->packets + e->offset + e->header_bytes;

	return (struct view){(const char *)at + 2, (size_t)(at[0] << 8 | at[1])};
}

static void put_record(struct order *o, const struct journal_segment *s, uint64_t seq)
{
	const struct journal_entry *e = &s->entries[seq - s->base];
	char id[UUID_TEXT_BYTES + 1];

	if (e->flags & JOURNAL_HIDDEN)
		return;
	uuid_format(&e->id, id);
	buf_printf(&o->lines, "{\"id\":\"%s\",\"time\":%llu,\"topic\":", id,
		(unsigned long long)e->time_ms);
	buf_json_string(&o->lines, topic_of(s, e));
	buf_text(&o->lines, "}\n");
}

/* Records from *seq on, as many as an answer takes; gives how many were removed before they were read. */
static uint64_t put_records(struct order *o, struct journal *j, uint64_t *seq)
{
	uint64_t tail = journal_tail(j), skipped = 0;
	const struct journal_segment *s = NULL;

	for (uint32_t n = 0; *seq < tail && n < RECORDS_MOST; (*seq)++, n++) {
		if (s == NULL || *seq >= s->end)
			s = journal_find(j, *seq);
		if (s == NULL) { /* retention was faster */
			uint64_t head = journal_head(j);

			if (head <= *seq)
				break;
			skipped += head - *seq;
			*seq = head - 1;
			continue;
		}
		put_record(o, s, *seq);
		if (buf_length(&o->lines) > LINES_BYTES) {
			(*seq)++;
			break;
		}
	}
	return skipped;
}

void order_records(struct order *o, const json_t *order)
{
	struct journal *j = commit_journal(o->server->commit);
	const json_t *from = json_object_get(order, "from");
	uint64_t seq = journal_tail(j), skipped;
	struct journal_reader r;

	if (json_is_integer(from) && json_integer_value(from) >= 0 &&
		(uint64_t)json_integer_value(from) < seq)
		seq = (uint64_t)json_integer_value(from);
	journal_reader_open(j, &r);
	journal_reader_enter(&r);
	skipped = put_records(o, j, &seq);
	journal_reader_leave(&r);
	journal_reader_close(&r);
	buf_printf(&o->lines, "{\"next\":%llu,\"now\":%llu,\"skipped\":%llu}\n",
		(unsigned long long)seq, (unsigned long long)journal_now(j),
		(unsigned long long)skipped);
	order_end(o, CLI_DONE, NULL);
}

/* --- what was refused ------------------------------------------------- */

/* As the antiloop would have known it. */
static struct uuid identity_of(const struct reject *r)
{
	struct notification_options options = {.mode = MODE_LENIENT};
	struct notification note;
	struct findings found;

	notification_judge(r->payload, &options, &note, &found);
	return note.has_id ? note.id : gate_identity_of_bytes(r->topic, r->payload);
}

static void put_reject(struct order *o, const struct reject *r)
{
	char text[UUID_TEXT_BYTES + 1];
	struct uuid id;

	if (r->passes)
		return;
	id = identity_of(r);
	uuid_format(&id, text);
	buf_printf(&o->lines, "{\"id\":\"%s\",\"rule\":\"%s\"}\n", text, rule_id(r->finding.rule));
}

/* The newest REFUSED_MOST of those above the number. */
void order_refused(struct order *o, const json_t *order)
{
	struct reject *found[REFUSED_MOST];
	struct rejects_query query = {.limit = REFUSED_MOST};
	const json_t *from = json_object_get(order, "from");
	uint64_t above = json_is_integer(from) ? (uint64_t)json_integer_value(from) : UINT64_MAX;
	uint32_t n = reports_find(o->server->reports, &query, found);
	uint64_t next = n ? found[0]->number : 0;

	for (uint32_t i = 0; i < n; i++) {
		if (above != UINT64_MAX && found[i]->number > above)
			put_reject(o, found[i]);
		reject_unref(found[i]);
	}
	buf_printf(&o->lines, "{\"next\":%llu}\n", (unsigned long long)next);
	order_end(o, CLI_DONE, NULL);
}

/* --- what is remembered ----------------------------------------------- */

void order_known(struct order *o, const json_t *order)
{
	const json_t *ids = json_object_get(order, "ids");
	json_t *one;
	size_t i;

	json_array_foreach(ids, i, one)
	{
		const char *text = json_string_value(one);
		struct uuid id;

		if (text && uuid_parse(view_of(text), &id) && commit_knows(o->server->commit, &id))
			buf_printf(&o->lines, "{\"id\":\"%s\"}\n", text);
	}
	order_end(o, CLI_DONE, NULL);
}
