/* Any lines as the file of the book, their checksum made right, so that the lines are what is tried.
 *
 * Held to: what is read can be swept and written; what is refused leaves the book as it was.
 */
#include <stddef.h>
#include <stdint.h>
#include <zlib.h>

#include "base/check.h"
#include "catalogue/book.h"

static void check_read(struct book *b, struct view text)
{
	const char *why;
	uint64_t newest;

	if (book_read(b, text, &why) < 0) {
		check(why[0] != '\0' && b->pairs.count == 0);
		return;
	}
	newest = book_newest_ms(b);
	catalogue_free(book_sweep(b, newest, 1000));
	book_begin(b, 0);
	catalogue_free(book_sweep(b, newest + 1000, 1000));
	check(book_newest_ms(b) == newest);
	check(book_bytes(b) >= b->pairs.count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct book b;
	struct buf text = {0};

	book_init(&b);
	check_read(&b, (struct view){(const char *)data, size});
	book_fini(&b);
	buf_append(&text, data, size);
	buf_text(&text, "\n");
	buf_printf(&text, "end\t%08lx\n", crc32_z(0, buf_bytes(&text), buf_length(&text)));
	check_read(&b, buf_view(&text));
	book_fini(&b);
	buf_fini(&text);
	return 0;
}
