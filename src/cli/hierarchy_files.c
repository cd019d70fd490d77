/* A folder and a zip are both a list of files with paths; only listing and reading differ.
 *
 *     list --> outermost centre-id.csv gives the root --> tables below it are read and added
 */
#include "cli/hierarchy_files.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zip.h>

#include "base/mem.h"
#include "cli/config_keys.h"
#include "wis2/hierarchy_tables.h"

#define FILES_MOST 20000u                /* listed */
#define BYTES_MOST (16u * 1024u * 1024u) /* read, of all tables */
#define FOLDERS_DEEPEST 24u

struct archive {
	const char *path;
	zip_t *zip;   /* NULL: a folder */
	char **files; /* owned: paths inside */
	size_t count;
	size_t bytes; /* read so far */
	struct buf *why;
};

static bool refuse(struct archive *a, const char *inside, const char *reason)
{
	buf_printf(a->why, "%s%s%s", inside, inside[0] ? ": " : "", reason);
	return false;
}

static bool note(struct archive *a, char *file)
{
	if (a->count == FILES_MOST) {
		free(file);
		return refuse(a, "", "too many files");
	}
	if (a->count % 256 == 0)
		a->files = mem_resize(a->files, (a->count + 256) * sizeof(*a->files));
	a->files[a->count++] = file;
	return true;
}

/* --- listing ---------------------------------------------------------- */

static bool list_zip(struct archive *a)
{
	zip_int64_t n = zip_get_num_entries(a->zip, 0);

	for (zip_int64_t i = 0; i < n; i++) {
		const char *name = zip_get_name(a->zip, (zip_uint64_t)i, ZIP_FL_ENC_RAW);

		if (name && !note(a, mem_text(name)))
			return false;
	}
	return true;
}

static int is_shown(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

/* The entries of one folder (inside: "" or "a/b/"): files are noted, folders listed as "a/b/c/". */
static bool list_entries(struct archive *a, const char *inside)
{
	char *path = mem_printf("%s/%s", a->path, inside);
	struct dirent **entries = NULL;
	int n = scandir(path, &entries, is_shown, alphasort);
	bool good = n >= 0 || refuse(a, inside, strerror(errno));

	for (int i = 0; i < n; i++) {
		char *full = mem_printf("%s/%s", path, entries[i]->d_name);
		struct stat st;
		bool is_folder = lstat(full, &st) == 0 && S_ISDIR(st.st_mode);

		if (good)
			good = note(a, mem_printf("%s%s%s", inside, entries[i]->d_name,
					       is_folder ? "/" : ""));
		free(full);
		free(entries[i]);
	}
	free(entries);
	free(path);
	return good;
}

static size_t depth_of(const char *path)
{
	size_t n = 0;

	for (; *path; path++)
		n += *path == '/';
	return n;
}

/* The list grows while it is walked: folders noted are looked into in turn. */
static bool list_folder(struct archive *a)
{
	if (!list_entries(a, ""))
		return false;
	for (size_t i = 0; i < a->count; i++) {
		struct view file = view_of(a->files[i]);

		if (view_ends_with(file, VIEW("/")) && depth_of(a->files[i]) < FOLDERS_DEEPEST &&
			!list_entries(a, a->files[i]))
			return false;
	}
	return true;
}

/* --- reading ---------------------------------------------------------- */

/* Reads one byte more than a table may have, at most: what a zip says of sizes is not believed. */
static bool read_zip_file(struct archive *a, const char *inside, struct buf *out)
{
	zip_file_t *file = zip_fopen(a->zip, inside, ZIP_FL_ENC_RAW);
	zip_int64_t n = 0;

	if (file == NULL)
		return refuse(a, inside, zip_strerror(a->zip));
	do {
		buf_grown(out, (size_t)n);
		n = zip_fread(file, buf_reserve(out, 65536), 65536);
	} while (n > 0 && buf_length(out) <= HIERARCHY_TABLE_LARGEST);
	zip_fclose(file);
	return n >= 0 || refuse(a, inside, "cannot be unpacked");
}

static bool read_plain_file(struct archive *a, const char *inside, struct buf *out)
{
	char *path = mem_printf("%s/%s", a->path, inside);
	bool good = config_read_file(path, out) == 0 || refuse(a, inside, strerror(errno));

	free(path);
	return good;
}

static bool add_table(
	struct archive *a, struct hierarchy_tables *t, const char *inside, size_t root)
{
	struct buf text = {0};
	bool good = a->zip ? read_zip_file(a, inside, &text) : read_plain_file(a, inside, &text);

	a->bytes += buf_length(&text);
	if (good && a->bytes > BYTES_MOST)
		good = refuse(a, "", "too large");
	good = good && hierarchy_tables_add(t, view_of(inside + root), buf_view(&text), a->why);
	buf_fini(&text);
	return good;
}

/* The folder of the outermost centre-id.csv, with its slash; {NULL, 0}: there is none. */
static struct view find_root(const struct archive *a)
{
	static const struct view sign = VIEW("centre-id.csv");
	struct view root = {0};
	size_t least = SIZE_MAX;

	for (size_t i = 0; i < a->count; i++) {
		struct view file = view_of(a->files[i]);
		size_t depth = depth_of(a->files[i]);

		if (view_ends_with(file, sign) && depth < least &&
			(file.n == sign.n || file.p[file.n - sign.n - 1] == '/')) {
			least = depth;
			root = (struct view){file.p, file.n - sign.n};
		}
	}
	return root;
}

static bool add_tables(struct archive *a, struct hierarchy_tables *t, struct view root)
{
	for (size_t i = 0; i < a->count; i++) {
		struct view file = view_of(a->files[i]);

		if (view_starts_with(file, root) &&
			hierarchy_tables_wants(view_skip(file, root.n)) &&
			!add_table(a, t, a->files[i], root.n))
			return false;
	}
	return true;
}

/* --- the version ------------------------------------------------------- */

static size_t digits(const char *p)
{
	return strspn(p, "0123456789");
}

/* "1.3.0" at p: its length, or 0. */
static size_t version_length(const char *p)
{
	size_t n = 0;

	for (unsigned part = 0; part < 3; part++) {
		size_t more = digits(p + n);

		if (more == 0 || more > 4 || (part < 2 && p[n + more] != '.'))
			return 0;
		n += more + (part < 2);
	}
	return n;
}

static struct view find_version(const char *path)
{
	for (const char *p = path; *p; p++) {
		size_t n = p == path || digits(p - 1) == 0 ? version_length(p) : 0;

		if (n)
			return (struct view){p, n};
	}
	return (struct view){0};
}

/* In the path of the root inside, else of the archive itself. */
static struct view version_of(const struct archive *a, struct view root)
{
	char *inside = mem_text_of(root);
	struct view found = find_version(inside);

	if (found.n)
		found.p = root.p + (found.p - inside);
	else
		found = find_version(a->path);
	free(inside);
	return found;
}

/* --- the whole -------------------------------------------------------- */

static struct hierarchy *make(struct archive *a)
{
	struct hierarchy_tables *t;
	struct hierarchy *h = NULL;
	struct view root = find_root(a);

	if (root.p == NULL) {
		refuse(a, "", "holds no centre-id.csv");
		return NULL;
	}
	t = hierarchy_tables_new();
	if (add_tables(a, t, root))
		h = hierarchy_tables_finish(t, version_of(a, root), a->why);
	hierarchy_tables_free(t);
	return h;
}

static bool open_zip(struct archive *a)
{
	int error = 0;
	zip_error_t text;

	a->zip = zip_open(a->path, ZIP_RDONLY, &error);
	if (a->zip)
		return true;
	zip_error_init_with_code(&text, error);
	refuse(a, "", zip_error_strerror(&text));
	zip_error_fini(&text);
	return false;
}

struct hierarchy *hierarchy_read(const char *path, struct buf *why)
{
	struct archive a = {.path = path, .why = why};
	struct hierarchy *h = NULL;
	struct stat st;

	if (path == NULL)
		return hierarchy_built_in();
	if (stat(path, &st) < 0)
		refuse(&a, "", strerror(errno));
	else if (S_ISDIR(st.st_mode) ? list_folder(&a) : open_zip(&a) && list_zip(&a))
		h = make(&a);
	for (size_t i = 0; i < a.count; i++)
		free(a.files[i]);
	free(a.files);
	if (a.zip)
		zip_discard(a.zip);
	return h;
}
