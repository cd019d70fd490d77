/* cli/config_source.c - the sources folder: one YAML file per source
 *
 * A source is named after its file, so two of one name cannot be. Files that do not end in .yaml
 * are not sources; one that ends in .yml is a fault, because it was surely meant to be one.
 */
#include "cli/config_keys.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"

#define NAME_LARGEST 128u
#define SOURCES_MOST 10000u

static bool is_name(struct view name)
{
	if (name.n == 0 || name.n > NAME_LARGEST)
		return false;
	for (size_t i = 0; i < name.n; i++) {
		char c = name.p[i];

		if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
			c != '-' && c != '_' && c != '.')
			return false;
	}
	return true;
}

static void judge_source(struct config_reader *r, const struct yaml *root,
	const struct source_config *s, uint32_t faults)
{
	if (r->faults->count > faults)
		return;
	if (s->centre_id == NULL)
		config_fault(r, root, "centre_id", "is missing; such as ca-eccc-msc is right");
	if (s->endpoint_count == 0)
		config_fault(r, root, "url",
			"is missing; such as mqtts://host.example.org:8883 is right");
}

/* What a gateway publishes on topics of its own has no records either (metadata.md, section 5). */
static void spare_gateway(const struct yaml *root, struct source_config *s)
{
	const struct yaml *checks = config_find(root, "checks");

	if (s->kind == SOURCE_GATEWAY && s->checks.checks[CHECK_TOPIC] == GATE_OFF &&
		(checks == NULL || config_find(checks, "metadata") == NULL))
		s->checks.checks[CHECK_METADATA] = GATE_OFF;
}

void config_read_source(struct config_reader *r, struct view text, const char *name,
	const struct config *config, struct source_config *out)
{
	uint32_t faults = r->faults->count;
	struct yaml *root = yaml_read(text, r->file, r->faults);

	*out = (struct source_config){0};
	source_config_default(out);
	config_defaults(SECTION_SOURCE, out);
	out->checks = config->checks;
	out->name = mem_text(name);
	if (root == NULL && r->faults->count == faults)
		config_fault(r, NULL, "", "is empty; centre_id and url are needed");
	config_read_map(r, SECTION_SOURCE, "", root, out);
	spare_gateway(root, out);
	judge_source(r, root, out, faults);
	yaml_free(root);
}

/* --- the folder ------------------------------------------------------- */

static int is_candidate(const struct dirent *entry)
{
	struct view name = view_of(entry->d_name);

	return name.p[0] != '.' &&
	       (view_ends_with(name, VIEW(".yaml")) || view_ends_with(name, VIEW(".yml")));
}

static void read_file(
	struct config *config, const char *path, const char *name, struct faults *faults)
{
	char *folder = mem_text(path);
	struct config_reader r = {faults, path, folder, ""};
	struct source_config source;
	struct buf text = {0};

	strrchr(folder, '/')[1] = '\0';
	if (config_read_file(path, &text) < 0) {
		config_fault(&r, NULL, "", "cannot be read: %s; make it readable", strerror(errno));
	} else {
		config_read_source(&r, buf_view(&text), name, config, &source);
		config->sources = mem_resize(
			config->sources, (config->source_count + 1) * sizeof(*config->sources));
		config->sources[config->source_count++] = source;
	}
	buf_fini(&text);
	free(folder);
}

static void read_entry(
	struct config *config, const char *folder, const char *file_name, struct faults *faults)
{
	struct view whole = view_of(file_name);
	char *path = mem_printf("%s/%s", folder, file_name);
	struct place at = {path, 0, 0};
	char *name = NULL;

	if (view_ends_with(whole, VIEW(".yml"))) {
		fault_add(faults, at, "", "source files end in .yaml; rename it");
	} else {
		name = mem_text_of((struct view){whole.p, whole.n - 5});
		if (is_name(view_of(name)))
			read_file(config, path, name, faults);
		else
			fault_add(faults, at, "",
				"not a name for a source; letters, digits, - _ and . are right");
	}
	free(name);
	free(path);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

void config_read_sources(struct config *config, const char *folder, struct faults *faults)
{
	struct dirent **entries = NULL;
	int n = scandir(folder, &entries, is_candidate, by_name);

	if (n < 0 || (unsigned)n > SOURCES_MOST)
		fault_add(faults, (struct place){folder, 0, 0}, "sources",
			n < 0 ? "cannot be read: %s; make the folder and let it be readable"
			      : "%s: too many files; at most 10000 sources are taken",
			n < 0 ? strerror(errno) : folder);
	for (int i = 0; i < n; i++) {
		if ((unsigned)n <= SOURCES_MOST)
			read_entry(config, folder, entries[i]->d_name, faults);
		free(entries[i]);
	}
	free(entries);
}
