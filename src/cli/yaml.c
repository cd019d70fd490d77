/* cli/yaml.c - libfyaml's events made into a tree
 *
 * The tree is built from the parser's events and not from the library's documents: events carry a
 * mark for every node, duplicate keys stay visible (all of them are reported), and everything the
 * library hands out is given back in one place per event.
 */
#include "cli/yaml.h"

#include <libfyaml.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/utf8.h"

struct reader {
	struct fy_parser *parser;
	struct faults *faults;
	const char *file;
	struct yaml *open[YAML_DEPTH]; /* lists and maps around the next node */
	uint32_t depth;
	struct yaml *root;
	struct place last; /* of the node before, for one that is not written out */
	uint32_t documents;
	bool stop;
};

void yaml_free(struct yaml *y)
{
	if (y == NULL)
		return;
	/* At most YAML_DEPTH levels deep. */
	for (uint32_t i = 0; i < y->count; i++)
		yaml_free(y->items[i]);
	free(y->items);
	free(y->tag);
	free(y->text);
	free(y);
}

bool yaml_is_null(const struct yaml *y)
{
	if (y == NULL)
		return true;
	if (y->kind != YAML_SCALAR || y->quoted || y->tag[0])
		return false;
	return y->text[0] == '\0' || strcmp(y->text, "~") == 0 || strcasecmp(y->text, "null") == 0;
}

static struct place place_of(const struct reader *r, const struct fy_mark *mark)
{
	return (struct place){r->file, (uint32_t)mark->line + 1, (uint32_t)mark->column + 1};
}

static bool in_quotes(struct fy_event *event)
{
	enum fy_scalar_style style;

	if (event->type != FYET_SCALAR || event->scalar.value == NULL)
		return false;
	style = fy_token_scalar_style(event->scalar.value);
	return style == FYSS_SINGLE_QUOTED || style == FYSS_DOUBLE_QUOTED;
}

/* The library's mark of a text in quotes and of an alias is one too far; an empty value has
 * none. */
static struct place place_of_event(struct reader *r, struct fy_event *event)
{
	const struct fy_mark *mark = fy_event_start_mark(event);
	struct place at = mark ? place_of(r, mark) : r->last;

	if (mark && (in_quotes(event) || event->type == FYET_ALIAS) && at.column > 1)
		at.column--;
	r->last = at;
	return at;
}

static void refuse(struct reader *r, struct fy_event *event, const char *what)
{
	fault_add(r->faults, place_of_event(r, event), "", "%s", what);
	r->stop = true;
}

static char *token_text(struct fy_token *token, struct reader *r, struct fy_event *event)
{
	size_t n = 0;
	const char *p = token ? fy_token_get_text(token, &n) : "";

	if (p && memchr(p, '\0', n))
		refuse(r, event, "a value holds a NUL character; leave it out");
	return mem_text_of((struct view){p ? p : "", p ? n : 0});
}

static bool is_quoted(struct fy_event *event)
{
	return event->type == FYET_SCALAR && event->scalar.value &&
	       fy_token_scalar_style(event->scalar.value) != FYSS_PLAIN;
}

/* Puts the node where it belongs: into the list or map around it, or at the root. */
static void place_node(struct reader *r, struct yaml *y)
{
	struct yaml *around = r->depth ? r->open[r->depth - 1] : NULL;

	if (around == NULL) {
		yaml_free(r->root);
		r->root = y;
		return;
	}
	if (around->count == around->room) {
		around->room = around->room ? around->room * 2 : 4;
		around->items = mem_resize(around->items, around->room * sizeof(struct yaml *));
	}
	around->items[around->count++] = y;
}

static void add_node(struct reader *r, struct fy_event *event, enum yaml_kind kind)
{
	struct place at = place_of_event(r, event);
	struct yaml *y;

	if (fy_event_get_anchor_token(event)) {
		refuse(r, event,
			"anchors (&name) are not used here; write the value where it is needed");
		return;
	}
	if (kind != YAML_SCALAR && r->depth == YAML_DEPTH) {
		refuse(r, event, "nested too deeply; no key needs more than a few levels");
		return;
	}
	y = mem_new(sizeof(*y));
	y->kind = kind;
	y->line = at.line;
	y->column = at.column;
	y->quoted = is_quoted(event);
	y->tag = token_text(fy_event_get_tag_token(event), r, event);
	y->text = token_text(kind == YAML_SCALAR ? event->scalar.value : NULL, r, event);
	place_node(r, y);
	if (kind != YAML_SCALAR)
		r->open[r->depth++] = y;
}

static void on_event(struct reader *r, struct fy_event *event)
{
	switch (event->type) {
	case FYET_DOCUMENT_START:
		if (r->documents++)
			refuse(r, event, "a second document begins; a file holds one");
		break;
	case FYET_SCALAR:
		add_node(r, event, YAML_SCALAR);
		break;
	case FYET_SEQUENCE_START:
		add_node(r, event, YAML_LIST);
		break;
	case FYET_MAPPING_START:
		add_node(r, event, YAML_MAP);
		break;
	case FYET_SEQUENCE_END:
	case FYET_MAPPING_END:
		r->depth -= r->depth > 0;
		break;
	case FYET_ALIAS:
		refuse(r, event, "aliases (*name) are not used here; write the value itself");
		break;
	default:
		break;
	}
}

/* What the library found wrong, in its words. */
static void report(struct reader *r, struct fy_diag *diag)
{
	struct fy_diag_error *error;
	void *at = NULL;
	bool said = false;

	while (diag && (error = fy_diag_errors_iterate(diag, &at)) != NULL) {
		struct place where = {r->file, error->line > 0 ? (uint32_t)error->line : 1,
			error->column > 0 ? (uint32_t)error->column : 1};

		if (said || error->msg == NULL)
			continue;
		fault_add(r->faults, where, "", "not YAML: %s; YAML 1.2 is expected here",
			error->msg);
		said = true;
	}
	if (!said)
		fault_add(r->faults, (struct place){r->file, 1, 1}, "",
			"not YAML; \"key: value\" lines are expected here");
}

static void read_events(struct reader *r, struct fy_diag *diag)
{
	struct fy_event *event;

	while (!r->stop && (event = fy_parser_parse(r->parser)) != NULL) {
		bool last = event->type == FYET_STREAM_END;

		on_event(r, event);
		fy_parser_event_free(r->parser, event);
		if (last)
			return;
	}
	if (!r->stop)
		report(r, diag);
	r->stop = true;
}

static bool is_readable(struct view text, const char *file, struct faults *faults)
{
	size_t good = utf8_valid_prefix(text.p, text.n);
	struct place at = {file, 1, 1};

	if (text.n > YAML_LARGEST) {
		fault_add(faults, at, "", "%zu bytes long; at most %u are read", text.n,
			YAML_LARGEST);
		return false;
	}
	if (good == text.n && memchr(text.p, '\0', text.n) == NULL)
		return true;
	if (good == text.n)
		good = (size_t)((const char *)memchr(text.p, '\0', text.n) - text.p);
	for (size_t i = 0; i < good; i++) {
		at.column = text.p[i] == '\n' ? 1 : at.column + 1;
		at.line += text.p[i] == '\n';
	}
	fault_add(faults, at, "", "not UTF-8 text; save the file as UTF-8");
	return false;
}

struct yaml *yaml_read(struct view text, const char *file, struct faults *faults)
{
	struct reader r = {.faults = faults, .file = file, .last = {file, 1, 1}};
	struct fy_diag_cfg diag_config;
	struct fy_diag *diag;
	struct fy_parse_cfg config = {
		.flags = FYPCF_QUIET | FYPCF_COLLECT_DIAG | FYPCF_DEFAULT_VERSION_1_2 |
			 FYPCF_JSON_NONE,
	};

	if (text.n == 0 || !is_readable(text, file, faults))
		return NULL;
	fy_diag_cfg_default(&diag_config);
	diag_config.fp = NULL;
	diag = fy_diag_create(&diag_config);
	fy_diag_set_collect_errors(diag, true);
	config.diag = diag;
	r.parser = fy_parser_create(&config);
	if (r.parser && fy_parser_set_string(r.parser, text.p, text.n) == 0)
		read_events(&r, diag);
	else
		report(&r, diag);
	fy_parser_destroy(r.parser);
	fy_diag_destroy(diag);
	if (!r.stop)
		return r.root;
	yaml_free(r.root);
	return NULL;
}
