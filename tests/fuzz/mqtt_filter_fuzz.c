/* Lines of text taken as filters and topics: relations between them hold, and the tree agrees
 * with the filters one by one. */
#include "mqtt/filter.h"

#include <stdlib.h>

#include "base/check.h"
#include "mqtt/tree.h"

#define LINES 16

struct line {
	struct view text;
	bool is_filter;
	int given;
};

static void count_line(void *context, void *value)
{
	(void)context;
	((struct line *)value)->given++;
}

/* Whatever topic comes along: covering does not contradict matching. */
static void check_relations(const struct line *a, const struct line *b, struct view topic)
{
	bool in_a = filter_match(a->text, topic);
	bool in_b = filter_match(b->text, topic);

	check(!(in_b && !in_a) || !filter_covers(a->text, b->text));
}

static void check_topic(struct filter_tree *t, struct line *lines, size_t n, struct view topic)
{
	filter_tree_match(t, topic, count_line, NULL);
	for (size_t i = 0; i < n; i++) {
		check(lines[i].given == (lines[i].is_filter && filter_match(lines[i].text, topic)));
		lines[i].given = 0;
		for (size_t j = 0; lines[i].is_filter && j < n; j++) {
			if (lines[j].is_filter)
				check_relations(&lines[i], &lines[j], topic);
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct view rest = {(const char *)data, size};
	struct filter_tree *t = filter_tree_new();
	struct line lines[LINES] = {0};
	size_t n = 0;

	for (; n < LINES && rest.p; n++) {
		struct view group;
		struct view filter;

		lines[n].text = view_cut(&rest, '\n');
		lines[n].is_filter = filter_is_valid(lines[n].text);
		if (filter_cut_share(lines[n].text, &group, &filter) > 0)
			check(group.n && filter_is_valid(filter) && !lines[n].is_filter);
		if (lines[n].is_filter)
			filter_tree_add(t, lines[n].text, &lines[n]);
	}
	for (size_t i = 0; i < n; i++) {
		if (topic_is_valid(lines[i].text))
			check_topic(t, lines, n, lines[i].text);
	}
	for (size_t i = 0; i < n; i += 2) {
		if (lines[i].is_filter)
			check(filter_tree_remove(t, lines[i].text, &lines[i]));
		lines[i].is_filter = false;
	}
	for (size_t i = 0; i < n; i++) {
		if (topic_is_valid(lines[i].text))
			check_topic(t, lines, n, lines[i].text);
	}
	filter_tree_free(t);
	return 0;
}
