/* Any bytes as a list of records, in pieces of any size.
 *
 * Input: one byte that gives the size of the pieces, then the list. Held to: the size of the pieces
 * changes nothing; every pair that comes out is of the form that a list for the gate takes; a list
 * that is refused says why.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/check.h"
#include "wis2/catalogue.h"
#include "wis2/record_list.h"

struct collected {
	struct catalogue *catalogue;
	struct buf pairs;
};

static void collect(void *context, struct view id, struct view tail)
{
	struct collected *c = context;

	check(metadata_id_centre(id).p != NULL && record_tail_is_valid(tail));
	(void)catalogue_add(c->catalogue, id, tail);
	buf_printf(&c->pairs, "%.*s\t%.*s\n", VIEW_ARG(id), VIEW_ARG(tail));
}

static int read_all(struct record_list *l, struct view text, size_t piece)
{
	while (text.n) {
		size_t n = text.n < piece ? text.n : piece;
		int err = record_list_feed(l, text.p, n);

		if (err < 0)
			return err;
		text = view_skip(text, n);
	}
	return record_list_finish(l);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct collected one = {catalogue_new(), {0}}, other = {catalogue_new(), {0}};
	struct record_list *l = record_list_new(collect, &one);
	struct record_list *m = record_list_new(collect, &other);
	struct view text = {(const char *)data + 1, size - 1};
	int err, again;

	if (size > 1) {
		err = read_all(l, text, text.n);
		again = read_all(m, text, data[0] % 64u + 1u);
		check((err < 0) == (again < 0));
		check((err < 0) == (record_list_fault(l)[0] != '\0'));
		check(view_equal(buf_view(&one.pairs), buf_view(&other.pairs)));
		check(view_equal(record_list_next(l), record_list_next(m)));
	}
	record_list_free(l);
	record_list_free(m);
	catalogue_free(one.catalogue);
	catalogue_free(other.catalogue);
	buf_fini(&one.pairs);
	buf_fini(&other.pairs);
	return 0;
}
