/* A scalar is a path when something is there under that name: so keys that come to name files need no
 * line here, and what merely looks like a path is left alone.
 */
#include "cli/export_files.h"

#include <dirent.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "cli/arguments.h"
#include "cli/config_keys.h"

#define LARGEST (16u << 20) /* of a file that a configuration names */

/* --- parts ------------------------------------------------------------ */

static const char *const names[] = {
#define X(part, name, help) [part] = name,
#include "cli/export_part.def"
#undef X
};

bool export_parts(const char *command, const struct argument_list *without, bool parts[PART_COUNT])
{
	struct buf all = {0};
	bool none[PART_COUNT] = {false};

	for (unsigned p = 0; p < PART_COUNT; p++)
		parts[p] = true;
	for (uint32_t i = 0; i < without->count; i++) {
		unsigned p = 0;

		while (p < PART_COUNT && strcmp(names[p], without->items[i]) != 0)
			p++;
		if (p < PART_COUNT) {
			parts[p] = false;
			continue;
		}
		export_part_names(none, false, &all);
		fprintf(stderr,
			"isobar %s: --without %s: there is no such part; one of %.*s is right\n",
			command, without->items[i], VIEW_ARG(buf_view(&all)));
		buf_fini(&all);
		return false;
	}
	return true;
}

void export_part_names(const bool parts[PART_COUNT], bool wanted, struct buf *out)
{
	for (unsigned p = 0; p < PART_COUNT; p++) {
		if (parts[p] == wanted)
			buf_printf(out, "%s%s", buf_length(out) ? ", " : "", names[p]);
	}
}

/* --- the list --------------------------------------------------------- */

struct collecting {
	struct export_files *files;
	char *folder; /* of the configuration, as the system knows it; ends with / */
};

static bool is_listed(const struct export_files *f, const char *path)
{
	for (uint32_t i = 0; i < f->count; i++) {
		if (strcmp(f->at[i].path, path) == 0)
			return true;
	}
	return false;
}

/* Takes name; NULL: known, but not to go along. */
static void add(struct export_files *f, char *name, const char *path)
{
	if (is_listed(f, path)) {
		free(name);
		return;
	}
	f->at = mem_resize(f->at, (f->count + 1) * sizeof(*f->at));
	f->at[f->count++] = (struct export_file){name, mem_text(path)};
}

static bool is_file(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size <= (off_t)LARGEST;
}

/* The folder's true name with the file's own behind it: a file may be a link to elsewhere, as those of
 * certbot are, and goes along as what it leads to. NULL: there is no such folder. */
static char *true_path(const char *path)
{
	char *of_folder = mem_text(path), *of_name = mem_text(path);
	char *folder = realpath(dirname(of_folder), NULL);
	char *made = folder ? mem_printf("%s%s%s", folder, strcmp(folder, "/") ? "/" : "",
				      basename(of_name))
			    : NULL;

	free(folder);
	free(of_folder);
	free(of_name);
	return made;
}

/* A file that is named, if it is there. */
static void add_named(struct collecting *c, const char *path)
{
	char *at = is_file(path) ? true_path(path) : NULL;
	struct view rest;

	if (at == NULL)
		return;
	rest = view_of(at);
	if (view_starts_with(rest, view_of(c->folder)))
		add(c->files, mem_printf("configuration/%s", at + strlen(c->folder)), at);
	else if (!is_listed(c->files, at))
		buf_printf(&c->files->outside, "%s\n", at);
	free(at);
}

/* --- what a text names ------------------------------------------------ */

static void look_at(struct collecting *c, const struct yaml *y, const char *folder)
{
	char *path;

	for (uint32_t i = 0; y && i < y->count; i++)
		look_at(c, y->items[i], folder);
	if (y == NULL || y->kind != YAML_SCALAR || y->text[0] == '\0')
		return;
	path = config_path(folder, y->text);
	add_named(c, path);
	free(path);
}

/* Files named in a YAML file, beside which relative names begin. */
static void look_into(struct collecting *c, const char *path)
{
	struct buf text = {0}, ignored = {0};
	struct faults faults = {&ignored, 0};
	char *folder = mem_text(path), *slash = strrchr(folder, '/');
	struct yaml *y = NULL;

	if (slash)
		slash[1] = '\0';
	else
		folder[0] = '\0';
	if (config_read_file(path, &text) == 0)
		y = yaml_read(buf_view(&text), path, &faults);
	look_at(c, y, folder);
	yaml_free(y);
	free(folder);
	buf_fini(&text);
	buf_fini(&ignored);
}

/* --- parts of a configuration ----------------------------------------- */

/* The main file, and what is in force without being named. */
static void collect_configuration(struct collecting *c, const struct config *config)
{
	char *name = mem_text(config->file);

	add(c->files, mem_printf("configuration/%s", basename(name)), config->file);
	look_into(c, config->file);
	if (config->topic_hierarchy && !is_file(config->topic_hierarchy))
		buf_printf(&c->files->outside, "%s\n", config->topic_hierarchy);
	for (uint32_t i = 0; i < config->listener_count; i++) {
		const struct config_listener *l = &config->listeners[i];

		if (!l->url.tls)
			continue;
		add_named(c, config_certificate(config, l));
		add_named(c, config_key_file(config, l));
	}
	free(name);
}

static int is_source(const struct dirent *entry)
{
	return entry->d_name[0] != '.' && view_ends_with(view_of(entry->d_name), VIEW(".yaml"));
}

/* A file of a part of its own, under its name there. */
static void add_own(
	struct collecting *c, const char *path, const char *part, const char *name, bool is_wanted)
{
	char *at = is_file(path) ? true_path(path) : NULL;

	if (at == NULL)
		return;
	add(c->files, is_wanted ? mem_printf("%s/%s", part, name) : NULL, at);
	if (is_wanted)
		look_into(c, path);
	free(at);
}

static void collect_sources(struct collecting *c, const struct config *config, bool is_wanted)
{
	struct dirent **entries = NULL;
	int n = scandir(config->sources_dir, &entries, is_source, alphasort);

	for (int i = 0; i < n; i++) {
		char *path = mem_printf("%s/%s", config->sources_dir, entries[i]->d_name);

		add_own(c, path, "sources", entries[i]->d_name, is_wanted);
		free(path);
		free(entries[i]);
	}
	free(entries);
}

/* What is not wanted of the others leaves the list again. */
static void drop_unwanted(struct export_files *f)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < f->count; i++) {
		if (f->at[i].name)
			f->at[kept++] = f->at[i];
		else
			free(f->at[i].path);
	}
	f->count = kept;
}

/* Sources and accounts first: what is theirs is not one more file that the main one names. */
void export_files_collect(
	struct export_files *f, const struct config *c, const bool parts[PART_COUNT])
{
	char *copy = mem_text(c->file);
	char *folder = copy ? realpath(dirname(copy), NULL) : NULL;
	struct collecting at = {
		f, folder ? mem_printf("%s/", strcmp(folder, "/") ? folder : "") : NULL};

	if (folder) {
		collect_sources(&at, c, parts[PART_SOURCES]);
		add_own(&at, c->accounts_file, "accounts", "accounts.yaml", parts[PART_ACCOUNTS]);
	}
	if (folder && parts[PART_CONFIGURATION])
		collect_configuration(&at, c);
	drop_unwanted(f);
	free(at.folder);
	free(folder);
	free(copy);
}

void export_files_fini(struct export_files *f)
{
	for (uint32_t i = 0; i < f->count; i++) {
		free(f->at[i].name);
		free(f->at[i].path);
	}
	free(f->at);
	buf_fini(&f->outside);
	*f = (struct export_files){0};
}
