/* wis2/record_archive.c - a zip file with one record a file, as catalogues make it once a day
 *
 * The packed bytes are collected, then opened in memory. Before anything is unpacked the sizes its
 * directory gives are added up and compared with the limits; a file that unpacks to another size
 * than it says is refused, so the limits hold whatever the directory claims.
 */
#include <stdlib.h>
#include <zip.h>

#include "base/error.h"
#include "base/mem.h"
#include "wis2/record_form.h"

int archive_feed(struct record_list *l, const char *bytes, size_t n)
{
	if (buf_length(&l->kept) + n > ARCHIVE_BYTES_MOST)
		return record_list_fail(l, ERR_TOO_LARGE, "an archive of more than 64 MiB");
	buf_append(&l->kept, bytes, n);
	return 0;
}

/* The size of a file with a record; 0: it is something else. */
static uint64_t size_of(zip_t *zip, zip_uint64_t number)
{
	zip_stat_t s;

	if (zip_stat_index(zip, number, 0, &s) < 0 || !(s.valid & ZIP_STAT_NAME) ||
		!(s.valid & ZIP_STAT_SIZE) || !view_ends_with(view_of(s.name), VIEW(".json")))
		return 0;
	return s.size;
}

static int check_sizes(struct record_list *l, zip_t *zip, zip_uint64_t files)
{
	uint64_t total = 0;

	if (files > ARCHIVE_FILES_MOST)
		return record_list_fail(l, ERR_TOO_LARGE, "an archive of more than 200000 files");
	for (zip_uint64_t i = 0; i < files; i++) {
		uint64_t size = size_of(zip, i);

		total += size < ARCHIVE_UNPACKED_MOST ? size : ARCHIVE_UNPACKED_MOST;
		if (total >= ARCHIVE_UNPACKED_MOST)
			return record_list_fail(l, ERR_TOO_LARGE,
				"an archive that would unpack to 256 MiB or more");
	}
	return 0;
}

/* text has room for RECORD_BYTES_MOST. */
static void read_file(struct record_list *l, zip_t *zip, zip_uint64_t number, char *text)
{
	uint64_t size = size_of(zip, number);
	zip_file_t *file;
	char more;

	if (size == 0)
		return;
	file = size <= RECORD_BYTES_MOST ? zip_fopen_index(zip, number, 0) : NULL;
	if (file && zip_fread(file, text, size) == (zip_int64_t)size &&
		zip_fread(file, &more, 1) == 0)
		record_list_take(l, (struct view){text, size});
	else
		l->figures.refused++;
	if (file)
		zip_fclose(file);
}

static int read_files(struct record_list *l, zip_t *zip)
{
	zip_uint64_t files = (zip_uint64_t)zip_get_num_entries(zip, 0);
	int err = check_sizes(l, zip, files);
	char *text;

	if (err < 0)
		return err;
	text = mem_new(RECORD_BYTES_MOST);
	for (zip_uint64_t i = 0; i < files; i++)
		read_file(l, zip, i, text);
	free(text);
	if (l->figures.refused && l->figures.records == 0)
		return record_list_fail(l, ERR_MALFORMED, "no record that can be read");
	return 0;
}

int archive_finish(struct record_list *l)
{
	zip_source_t *bytes =
		zip_source_buffer_create(buf_bytes(&l->kept), buf_length(&l->kept), 0, NULL);
	zip_t *zip = bytes ? zip_open_from_source(bytes, ZIP_RDONLY, NULL) : NULL;
	int err;

	if (zip == NULL) {
		zip_source_free(bytes);
		return record_list_fail(l, ERR_MALFORMED, "not a zip file, or cut off");
	}
	err = read_files(l, zip);
	zip_discard(zip);
	buf_fini(&l->kept);
	return err;
}
