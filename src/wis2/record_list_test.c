/* Lists of records in their three forms, whole and broken, in pieces of any size. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <zip.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/mem.h"
#include "wis2/record_list.h"

#define ID "urn:wmo:md:de-dwd:a"
#define LINK(channel) "{\"href\":\"mqtts://gb.example:8883\",\"channel\":\"" channel "\"}"
#define RECORD(id, links) "{\"id\":\"" id "\",\"type\":\"Feature\",\"links\":[" links "]}"
#define ONE RECORD(ID, LINK("origin/a/wis2/de-dwd/data/core/weather/x"))
#define WANT_ONE ID " data/core/weather/x\n"
#define PAGE(features, more) "{\"type\":\"FeatureCollection\",\"features\":[" features "]" more "}"

static const struct row {
	const char *name;
	const char *text;
	const char *pairs; /* as collected; NULL: it is no list */
	unsigned records;
	unsigned refused;
	const char *next; /* NULL: none */
	const char *fault;
} rows[] = {
	{"one record", PAGE(ONE, ""), WANT_ONE, 1, 0, NULL, ""},
	{"white space before", " \r\n" PAGE(ONE, "") "\n", WANT_ONE, 1, 0, NULL, ""},
	{"no records", PAGE("", ""), "", 0, 0, NULL, ""},
	{"a next page",
		PAGE(ONE, ",\"links\":[{\"rel\":\"self\",\"href\":\"a\"},{\"rel\":\"next\","
			  "\"href\":\"items?offset=1\"}]"),
		WANT_ONE, 1, 0, "items?offset=1", ""},
	{"links before features",
		"{\"links\":[{\"rel\":\"next\",\"href\":\"b\"}],\"features\":[" ONE "]}", WANT_ONE,
		1, 0, "b", ""},
	{"features inside another member", "{\"x\":{\"features\":[" ONE "]},\"features\":[]}", "",
		0, 0, NULL, ""},
	{"brackets and quotes inside strings", PAGE(ONE, ",\"t\":\"]}\\\"{[\\\\\""), WANT_ONE, 1, 0,
		NULL, ""},
	{"both channels are one topic",
		PAGE(RECORD(ID, LINK("origin/a/wis2/de-dwd/data/core/weather/x") "," LINK(
					"cache/a/wis2/de-dwd/data/core/weather/x")),
			""),
		WANT_ONE, 1, 0, NULL, ""},
	{"an old record",
		PAGE(RECORD(ID, "{\"href\":\"ws://b\",\"wmo:topic\":"
				"\"cache/a/wis2/de-dwd/data/core/weather/x\"}"),
			""),
		WANT_ONE, 1, 0, NULL, ""},
	{"a filter", PAGE(RECORD(ID, LINK("origin/a/wis2/de-dwd/data/+/weather/#")), ""),
		ID " data/+/weather/#\n", 1, 0, NULL, ""},
	{"a filter that ends early", PAGE(RECORD(ID, LINK("origin/a/wis2/de-dwd/#")), ""),
		ID " #\n", 1, 0, NULL, ""},
	{"a filter over all centres", PAGE(RECORD(ID, LINK("cache/a/wis2/#")), ""), ID " #\n", 1, 0,
		NULL, ""},
	{"channels that are no topics of data",
		PAGE(RECORD(ID, LINK("origin/a/wis2/de-dwd/metadata") "," LINK(
					"monitor/a/wis2/"
					"de-dwd") "," LINK("origin/a/wis2/de-dwd") "," LINK("origin"
											    "/a/"
											    "wis2/"
											    "de-"
											    "dwd/"
											    "data/"
											    "#/x") "," LINK("orig"
													    "in/"
													    "b/"
													    "wis2"
													    "/de-"
													    "dwd/"
													    "data"
													    "/"
													    "x")),
			""),
		"", 1, 0, NULL, ""},
	{"a link to a web page",
		PAGE(RECORD(ID, "{\"href\":\"https://x\",\"channel\":"
				"\"origin/a/wis2/de-dwd/data/core/weather/x\"}"),
			""),
		"", 1, 0, NULL, ""},
	{"records of another form among sound ones",
		PAGE("{\"id\":\"x\",\"links\":[]}," ONE
		     ",{\"id\":7,\"links\":[]},{\"links\":{}},{}",
			""),
		WANT_ONE, 1, 4, NULL, ""},
	{"no record that is one", PAGE("{},{\"id\":\"x\"}", ""), NULL, 0, 0, NULL,
		"no record that can be read"},
	{"JSON of another kind", "{\"code\":500,\"description\":\"x\"}", NULL, 0, 0, NULL,
		"JSON without \"features\": no list of records"},
	{"cut off", "{\"type\":\"FeatureCollection\",\"features\":[" ONE, NULL, 0, 0, NULL,
		"the list ends in the middle"},
	{"text behind it", PAGE(ONE, "") " x", NULL, 0, 0, NULL, "text behind the list"},
	{"brackets that do not fit", "{\"features\":[" ONE "}", NULL, 0, 0, NULL,
		"a bracket that does not fit"},
	{"a web page", "\n<!DOCTYPE html><html></html>", NULL, 0, 0, NULL,
		"a web page, not a list of records"},
	{"nothing", "", NULL, 0, 0, NULL, "nothing came"},
	{"a JSON array", "[1,2]", NULL, 0, 0, NULL,
		"neither records, nor an archive, nor a list of channels"},
	{"channels", ID ",data/core/weather/x\r\n\n" ID ",metadata\nurn:wmo:md:fr-m:b,c,data/x/y",
		WANT_ONE "urn:wmo:md:fr-m:b,c data/x/y\n", 3, 0, NULL, ""},
	{"whole channels", ID ",origin/a/wis2/de-dwd/data/core/weather/x\n", WANT_ONE, 1, 0, NULL,
		""},
	{"channels with lines of another form",
		"metadata_id,topic\n" ID ",data/core/weather/x\n" ID ",x y\n" ID ",data/a\n",
		WANT_ONE ID " data/a\n", 2, 2, NULL, ""},
	{"plain text", "Service temporarily, unavailable\n", NULL, 0, 0, NULL,
		"neither records, nor an archive, nor a list of channels"},
	{"half an archive", "PK\3\4 and then", NULL, 0, 0, NULL, "not a zip file, or cut off"},
};

static void collect(void *context, struct view id, struct view tail)
{
	buf_printf(context, "%.*s %.*s\n", VIEW_ARG(id), VIEW_ARG(tail));
}

/* Feeds in pieces of that size. 0 or an error. */
static int feed(struct record_list *l, struct view text, size_t piece)
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

static void check_row(const struct row *r, size_t piece)
{
	struct buf pairs = {0};
	struct record_list *l = record_list_new(collect, &pairs);
	int err = feed(l, view_of(r->text), piece);

	if ((err == 0) != (r->pairs != NULL) || strcmp(record_list_fault(l), r->fault) != 0)
		fail_msg("%s in pieces of %zu: %d, \"%s\"", r->name, piece, err,
			record_list_fault(l));
	if (r->pairs && (!view_equal(buf_view(&pairs), view_of(r->pairs)) ||
				record_list_figures(l).records != r->records ||
				record_list_figures(l).refused != r->refused ||
				!view_equal(record_list_next(l), view_of(r->next))))
		fail_msg("%s in pieces of %zu: %.*s records %u refused %u next %.*s", r->name,
			piece, VIEW_ARG(buf_view(&pairs)), (unsigned)record_list_figures(l).records,
			(unsigned)record_list_figures(l).refused, VIEW_ARG(record_list_next(l)));
	record_list_free(l);
	buf_fini(&pairs);
}

static void lists_are_read_in_pieces_of_any_size(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		check_row(&rows[i], 1);
		check_row(&rows[i], 7);
		check_row(&rows[i], 1u << 20);
	}
}

/* --- bounds ----------------------------------------------------------- */

static void a_record_that_is_too_long_is_left_out(void **state)
{
	struct buf text = {0}, pairs = {0};
	struct record_list *l = record_list_new(collect, &pairs);

	(void)state;
	buf_text(&text, "{\"features\":[" ONE ",{\"id\":\"" ID "\",\"x\":\"");
	for (unsigned i = 0; i <= RECORD_BYTES_MOST; i += 64)
		buf_text(&text, "0123456789012345678901234567890123456789012345678901234567890123");
	buf_text(&text, "\",\"links\":[]}," ONE "]}");
	assert_int_equal(feed(l, buf_view(&text), 4096), 0);
	assert_int_equal(record_list_figures(l).records, 2);
	assert_int_equal(record_list_figures(l).refused, 1);
	record_list_free(l);
	buf_fini(&pairs);
	buf_fini(&text);
}

static void nesting_and_lines_are_bounded(void **state)
{
	struct buf pairs = {0};
	struct record_list *l = record_list_new(collect, &pairs);
	int err = record_list_feed(l, "{\"a\":", 5);

	(void)state;
	for (int i = 0; i < 100 && err == 0; i++)
		err = record_list_feed(l, "[", 1);
	assert_int_equal(err, ERR_MALFORMED);
	assert_string_equal(record_list_fault(l), "nested too deep");
	record_list_free(l);
	l = record_list_new(collect, &pairs);
	for (unsigned i = 0; i <= CHANNEL_LINE_MOST; i++)
		err = record_list_feed(l, "u", 1);
	assert_int_equal(err, ERR_TOO_LARGE);
	assert_int_equal(record_list_feed(l, "\n", 1), ERR_MALFORMED); /* nothing more is read */
	assert_string_equal(record_list_fault(l), "a line of more than 2048 bytes");
	record_list_free(l);
}

/* --- archives --------------------------------------------------------- */

/* Adds a file whose bytes are taken over. */
static void add_file(zip_t *zip, const char *name, char *text, size_t n)
{
	zip_source_t *source = zip_source_buffer(zip, text, n, 1);

	assert_non_null(source);
	assert_true(zip_file_add(zip, name, source, 0) >= 0);
}

/* Closes zip and feeds what it has made. */
static int feed_zip(struct record_list *l, zip_t *zip, zip_source_t *bytes)
{
	char *text;
	zip_int64_t n;
	int err;

	zip_source_keep(bytes);
	assert_int_equal(zip_close(zip), 0);
	assert_int_equal(zip_source_open(bytes), 0);
	zip_source_seek(bytes, 0, SEEK_END);
	n = zip_source_tell(bytes);
	zip_source_seek(bytes, 0, SEEK_SET);
	text = mem_new((size_t)n);
	assert_int_equal(zip_source_read(bytes, text, (zip_uint64_t)n), n);
	zip_source_close(bytes);
	zip_source_free(bytes);
	err = feed(l, (struct view){text, (size_t)n}, 1000);
	free(text);
	return err;
}

static zip_t *new_zip(zip_source_t **bytes)
{
	*bytes = zip_source_buffer_create(NULL, 0, 0, NULL);
	return zip_open_from_source(*bytes, ZIP_CREATE | ZIP_TRUNCATE, NULL);
}

static void an_archive_has_a_record_a_file(void **state)
{
	struct buf pairs = {0};
	struct record_list *l = record_list_new(collect, &pairs);
	zip_source_t *bytes;
	zip_t *zip = new_zip(&bytes);

	(void)state;
	add_file(zip, "gdc/" ID ".json", mem_text(ONE), sizeof(ONE) - 1);
	add_file(zip, "gdc/broken.json", mem_text("{"), 1);
	add_file(zip, "gdc/README", mem_text("x"), 1);
	assert_int_equal(feed_zip(l, zip, bytes), 0);
	assert_true(view_equal(buf_view(&pairs), VIEW(WANT_ONE)));
	assert_int_equal(record_list_figures(l).records, 1);
	assert_int_equal(record_list_figures(l).refused, 1);
	record_list_free(l);
	buf_fini(&pairs);
}

static void an_archive_that_unpacks_to_too_much_is_not_unpacked(void **state)
{
	struct buf pairs = {0};
	struct record_list *l = record_list_new(collect, &pairs);
	size_t n = 40u << 20;
	zip_source_t *bytes;
	zip_t *zip = new_zip(&bytes);

	(void)state;
	for (unsigned i = 0; i * n < ARCHIVE_UNPACKED_MOST; i++) {
		char name[32];

		snprintf(name, sizeof(name), "%u.json", i);
		add_file(zip, name, mem_new(n), n);
	}
	assert_int_equal(feed_zip(l, zip, bytes), ERR_TOO_LARGE);
	assert_string_equal(
		record_list_fault(l), "an archive that would unpack to 256 MiB or more");
	record_list_free(l);
	buf_fini(&pairs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lists_are_read_in_pieces_of_any_size),
		cmocka_unit_test(a_record_that_is_too_long_is_left_out),
		cmocka_unit_test(nesting_and_lines_are_bounded),
		cmocka_unit_test(an_archive_has_a_record_a_file),
		cmocka_unit_test(an_archive_that_unpacks_to_too_much_is_not_unpacked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
