#include <stdlib.h>

#include "base/mem.h"
#include "cli/compare.h"

static const char *const names[] = {"ours", "theirs"};

/* --- sums ------------------------------------------------------------- */

static uint64_t only_theirs(const struct compare_centre *c)
{
	uint64_t n = 0;

	for (unsigned r = 0; r < COMPARE_REASONS; r++)
		n += c->only_theirs[r].count;
	return n;
}

static uint64_t earlier(const struct compare_centre *c, enum compare_side side)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < COMPARE_BUCKETS; i++)
		n += c->earlier[side][i];
	return n;
}

static const char *rule_of(unsigned reason)
{
	return reason < RULE_COUNT ? rule_id((enum rule)reason) : "";
}

static const char *text_of(unsigned reason, const struct compare_words *words)
{
	if (reason == COMPARE_BEFORE)
		return "we published it before";
	return reason ? rule_text((enum rule)reason) : words->no_rule;
}

/* What counts of examples is shown. */
static uint64_t shown(const struct compare_tally *t)
{
	return t->count < COMPARE_EXAMPLES ? t->count : COMPARE_EXAMPLES;
}

static void add_tally(struct compare_tally *to, const struct compare_tally *t)
{
	for (uint64_t i = 0; i < shown(t) && to->count + i < COMPARE_EXAMPLES; i++)
		to->examples[to->count + i] = t->examples[i];
	to->count += t->count;
}

static void add_centre(struct compare_centre *to, const struct compare_centre *c)
{
	to->both += c->both;
	to->together += c->together;
	for (unsigned i = 0; i < COMPARE_BUCKETS; i++) {
		to->earlier[0][i] += c->earlier[0][i];
		to->earlier[1][i] += c->earlier[1][i];
	}
	add_tally(&to->only_ours, &c->only_ours);
	for (unsigned r = 0; r < COMPARE_REASONS; r++)
		add_tally(&to->only_theirs[r], &c->only_theirs[r]);
}

static int by_name(const void *a, const void *b)
{
	const struct compare_centre *x = *(const struct compare_centre *const *)a;
	const struct compare_centre *y = *(const struct compare_centre *const *)b;

	return view_order(view_of(x->name), view_of(y->name));
}

/* Calls put for each centre in order; the sum is in *sum. */
static void each(const struct compare *c, struct compare_centre *sum,
	void (*put)(struct buf *out, const struct compare_centre *centre,
		const struct compare_words *words),
	struct buf *out, const struct compare_words *words)
{
	struct compare_centre **sorted = mem_new((c->centres.count + 1) * sizeof(*sorted));
	struct compare_centre *centre;
	size_t n = 0;

	for (size_t at = 0; (centre = map_next(&c->centres, &at)) != NULL;)
		sorted[n++] = centre;
	qsort(sorted, n, sizeof(*sorted), by_name);
	for (size_t i = 0; i < n; i++) {
		put(out, sorted[i], words);
		add_centre(sum, sorted[i]);
	}
	free(sorted);
}

static bool is_equal(const struct compare_centre *sum)
{
	return sum->only_ours.count == 0 && only_theirs(sum) == 0;
}

/* --- for people ------------------------------------------------------- */

static void put_edge(struct buf *out, unsigned bucket)
{
	uint64_t ms = compare_edges[bucket];

	if (ms == UINT64_MAX)
		buf_text(out, "longer");
	else if (ms < 1000)
		buf_printf(out, "<%llu ms", (unsigned long long)ms);
	else
		buf_printf(out, "<%llu s", (unsigned long long)ms / 1000);
}

static void put_examples(struct buf *out, const struct compare_tally *t)
{
	char text[UUID_TEXT_BYTES + 1];

	for (uint64_t i = 0; i < shown(t); i++) {
		uuid_format(&t->examples[i], text);
		buf_printf(out, "      %s\n", text);
	}
}

static void put_earlier(struct buf *out, const struct compare_centre *c, enum compare_side side)
{
	if (earlier(c, side) == 0)
		return;
	buf_printf(out, "  %s first: %llu, by", names[side], (unsigned long long)earlier(c, side));
	for (unsigned i = 0; i < COMPARE_BUCKETS; i++) {
		if (c->earlier[side][i] == 0)
			continue;
		buf_text(out, " ");
		put_edge(out, i);
		buf_printf(out, ": %llu", (unsigned long long)c->earlier[side][i]);
	}
	buf_text(out, "\n");
}

/* The name as JSON would have it, without the quotes: it may come from the network. */
static void put_name(struct buf *out, const char *name)
{
	struct buf quoted = {0};

	buf_json_string(&quoted, view_of(name));
	buf_append(out, buf_bytes(&quoted) + 1, buf_length(&quoted) - 2);
	buf_fini(&quoted);
}

static void put_text(
	struct buf *out, const struct compare_centre *c, const struct compare_words *words)
{
	put_name(out, c->name);
	buf_printf(out, ": both %llu, only ours %llu, only theirs %llu\n",
		(unsigned long long)c->both, (unsigned long long)c->only_ours.count,
		(unsigned long long)only_theirs(c));
	put_earlier(out, c, COMPARE_OURS);
	put_earlier(out, c, COMPARE_THEIRS);
	if (c->only_ours.count)
		buf_printf(out, "  only ours: %llu\n", (unsigned long long)c->only_ours.count);
	put_examples(out, &c->only_ours);
	for (unsigned r = 0; r < COMPARE_REASONS; r++) {
		const struct compare_tally *t = &c->only_theirs[r];

		if (t->count == 0)
			continue;
		buf_printf(out, "  only theirs: %llu %s%s%s\n", (unsigned long long)t->count,
			rule_of(r), rule_of(r)[0] ? ": " : "", text_of(r, words));
		put_examples(out, t);
	}
}

static void put_untold(struct buf *out, const struct compare *c)
{
	if (c->untold_begin || c->untold_end)
		buf_printf(out,
			"not told, as too near to the beginning or a gap: %llu; to the end: %llu\n",
			(unsigned long long)c->untold_begin, (unsigned long long)c->untold_end);
	if (c->gaps)
		buf_printf(out, "times that a broker was not heard for a while: %u\n", c->gaps);
	if (c->early)
		buf_printf(out,
			"counted before %llu s were over, as there were too many ids: %llu\n",
			(unsigned long long)c->within_ms / 1000, (unsigned long long)c->early);
}

bool compare_report_text(
	const struct compare *c, const struct compare_words *words, struct buf *out)
{
	struct compare_centre *sum = mem_new(sizeof(*sum));
	bool same;

	each(c, sum, put_text, out, words);
	buf_printf(out, "ours: %s\ntheirs: %s\n", words->ours, words->theirs);
	sum->name = (char *)(uintptr_t) "all";
	put_text(out, sum, words);
	put_untold(out, c);
	same = is_equal(sum);
	free(sum);
	return same;
}

/* --- for programs ------------------------------------------------------ */

static void put_ids(struct buf *out, const struct compare_tally *t)
{
	char text[UUID_TEXT_BYTES + 1];

	buf_text(out, "[");
	for (uint64_t i = 0; i < shown(t); i++) {
		uuid_format(&t->examples[i], text);
		buf_printf(out, "%s\"%s\"", i ? "," : "", text);
	}
	buf_text(out, "]");
}

static void put_buckets(struct buf *out, const struct compare_centre *c, enum compare_side side)
{
	buf_printf(out, ",\"%s_first\":%llu,\"%s_earlier_ms\":{", names[side],
		(unsigned long long)earlier(c, side), names[side]);
	for (unsigned i = 0; i < COMPARE_BUCKETS; i++) {
		if (compare_edges[i] == UINT64_MAX)
			buf_text(out, "\"+Inf\":");
		else
			buf_printf(out, "\"%llu\":", (unsigned long long)compare_edges[i]);
		buf_printf(out, "%llu%s", (unsigned long long)c->earlier[side][i],
			i + 1 < COMPARE_BUCKETS ? "," : "}");
	}
}

static void put_reasons(
	struct buf *out, const struct compare_centre *c, const struct compare_words *words)
{
	const char *separator = "";

	buf_text(out, ",\"only_theirs_by_rule\":[");
	for (unsigned r = 0; r < COMPARE_REASONS; r++) {
		const struct compare_tally *t = &c->only_theirs[r];

		if (t->count == 0)
			continue;
		buf_printf(out, "%s{\"rule\":", separator);
		if (rule_of(r)[0])
			buf_json_string(out, view_of(rule_of(r)));
		else
			buf_text(out, "null");
		buf_text(out, ",\"reason\":");
		buf_json_string(out, view_of(text_of(r, words)));
		buf_printf(out, ",\"count\":%llu,\"examples\":", (unsigned long long)t->count);
		put_ids(out, t);
		buf_text(out, "}");
		separator = ",";
	}
	buf_text(out, "]");
}

static void put_sums(
	struct buf *out, const struct compare_centre *c, const struct compare_words *words)
{
	buf_printf(out, "\"both\":%llu,\"only_ours\":%llu,\"only_theirs\":%llu,\"together\":%llu",
		(unsigned long long)c->both, (unsigned long long)c->only_ours.count,
		(unsigned long long)only_theirs(c), (unsigned long long)c->together);
	put_buckets(out, c, COMPARE_OURS);
	put_buckets(out, c, COMPARE_THEIRS);
	buf_text(out, ",\"only_ours_examples\":");
	put_ids(out, &c->only_ours);
	put_reasons(out, c, words);
}

static void put_json(
	struct buf *out, const struct compare_centre *c, const struct compare_words *words)
{
	buf_text(out, "{\"centre_id\":");
	buf_json_string(out, view_of(c->name));
	buf_text(out, ",");
	put_sums(out, c, words);
	buf_text(out, "}\n");
}

bool compare_report_json(
	const struct compare *c, const struct compare_words *words, struct buf *out)
{
	struct compare_centre *sum = mem_new(sizeof(*sum));
	bool same;

	each(c, sum, put_json, out, words);
	buf_text(out, "{\"total\":true,");
	put_sums(out, sum, words);
	buf_text(out, ",\"ours\":");
	buf_json_string(out, view_of(words->ours));
	buf_text(out, ",\"theirs\":");
	buf_json_string(out, view_of(words->theirs));
	buf_printf(out,
		",\"for_ms\":%llu,\"within_ms\":%llu,\"untold_begin\":%llu,\"untold_end\":%llu,"
		"\"gaps\":%u,\"early\":%llu}\n",
		(unsigned long long)words->for_ms, (unsigned long long)c->within_ms,
		(unsigned long long)c->untold_begin, (unsigned long long)c->untold_end, c->gaps,
		(unsigned long long)c->early);
	same = is_equal(sum);
	free(sum);
	return same;
}
