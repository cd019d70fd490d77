/* `isobar verify`: judges notification messages in files, in folders, or one a line on stdin. What a
 * broker publishes is judged by verify_live.c. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "cli/arguments.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/verdict.h"
#include "cli/verify.h"
#include "wis2/json.h"

struct verify {
	struct verify_settings settings;
	const char *mode;
	const char *topic_text; /* as given, or NULL */
	char *topic_bytes;      /* owned */
	struct view topic;
	struct topic_parts parts;
	struct findings topic_findings;
	struct verify_live live;
	bool refused;    /* something was invalid */
	bool unreadable; /* a file could not be read */
};

#define FIELD(name) offsetof(struct verify, name)

static const struct argument rows[] = {
	{'t', "topic", ARGUMENT_TEXT, FIELD(topic_text), 0, 0, "TOPIC",
		"the topic the messages came on; judged as well"},
	{0, "json", ARGUMENT_FLAG, FIELD(settings.json), 0, 0, NULL,
		"print one JSON object a line"},
	{0, "mode", ARGUMENT_TEXT, FIELD(mode), 0, 0, "lenient|standard|strict",
		"how much is required (default: standard)"},
	{0, "leaf", ARGUMENT_SWITCH, FIELD(settings.leaf_only), 0, 0, "any|only",
		"only: refuse topics that are not leaves (default: any)"},
	{0, "metadata-subtopics", ARGUMENT_SWITCH, FIELD(settings.metadata_subtopics), 0, 0,
		"no|yes", "let a data path follow metadata in the topic"},
	{0, "test-centres", ARGUMENT_SWITCH, FIELD(settings.test_centres), 0, 0, "no|yes",
		"accept centre identifiers that end in -test (default: yes)"},
	{0, "hierarchy", ARGUMENT_TEXT, FIELD(settings.known.path), 0, 0, "PATH",
		"a folder or zip with newer tables of the topic hierarchy (default: built-in)"},
	{0, "centre", ARGUMENT_TEXT, FIELD(settings.known.centres), 0, 0, "IDS",
		"further centre identifiers that count as known, parted by commas"},
	{0, "from", ARGUMENT_TEXT, FIELD(live.where.url), 0, 0, "URL",
		"judge what a broker publishes on the filters given, and report by centre and "
		"rule"},
	{0, "for", ARGUMENT_DURATION, FIELD(live.for_ms), 1, UINT32_MAX, "TIME",
		"with --from: how long (default: 60s)"},
	{'n', "count", ARGUMENT_NUMBER, FIELD(live.count), 1, UINT64_MAX, "COUNT",
		"with --from: end after so many messages, if that is sooner"},
	{'u', "username", ARGUMENT_TEXT, FIELD(live.where.user), 0, 0, "USER",
		"with --from: instead of the URL's; empty: none"},
	{'P', "password-file", ARGUMENT_TEXT, FIELD(live.where.password_file), 0, 0, "FILE",
		"with --from: its first line is the password"},
	{0, "ca", ARGUMENT_TEXT, FIELD(live.where.ca), 0, 0, "FILE",
		"with --from: certificates to trust (the system's)"},
	{0, "insecure", ARGUMENT_FLAG, FIELD(live.where.insecure), 0, 0, NULL,
		"with --from: do not verify the server's certificate"},
};

static const struct argument_table table = {
	"isobar verify [options] FILE...|-\n       isobar verify [options] --from URL FILTER...",
	"Judges WIS2 notification messages, one JSON document a file; folders are walked. With -\n"
	"messages are read from stdin, one a line. With -t monitor/... they are monitoring "
	"events.\n"
	"Exit status 1 when a message is invalid.",
	rows, sizeof(rows) / sizeof(rows[0])};

enum rule verify_message(const struct verify_settings *s, const struct topic_parts *parts,
	struct view payload, struct notification *note, struct findings *found)
{
	struct notification_options options = {
		.mode = s->mode,
		.metadata_topic = parts->kind == TOPIC_METADATA,
		.cache_topic = parts->is_cache,
		.all = true,
	};
	struct event_options event = {.subject = parts->centre, .all = true};

	return parts->kind == TOPIC_MONITOR ? event_judge(payload, &event, note, found)
					    : notification_judge(payload, &options, note, found);
}

enum rule verify_topic(const struct verify_settings *s, struct view topic,
	struct topic_parts *parts, struct findings *found)
{
	struct topic_options options = {
		s->leaf_only, s->metadata_subtopics, s->test_centres, true, NULL};

	return topic_judge(s->known.hierarchy, topic, &options, parts, found);
}

static void judge(struct verify *c, const char *source, struct view payload)
{
	struct notification note;
	struct findings found;
	struct verdict verdict = {
		.source = source,
		.payload = payload,
		.topic = c->topic,
		.topic_findings = c->topic_text ? &c->topic_findings : NULL,
		.message_findings = &found,
	};
	struct buf head = {0};
	char id[JSON_LARGEST];

	verify_message(&c->settings, &c->parts, payload, &note, &found);
	if (note.id_text.p)
		verdict.id = (struct view){id, json_decode(note.id_text, id)};
	c->refused |= !verdict_is_valid(&verdict);
	if (!c->settings.json) {
		verdict_print_text(&verdict);
		return;
	}
	buf_text(&head, "\"source\":");
	buf_json_string(&head, view_of(source));
	buf_text(&head, ",");
	verdict_print_json(&verdict, &head);
	buf_fini(&head);
}

static void report(struct verify *c, const char *path)
{
	fprintf(stderr, "isobar verify: %s: %s\n", path, strerror(errno));
	c->unreadable = true;
}

/* One byte more than a notification may have is enough to know that it is too long. */
static void judge_file(struct verify *c, const char *path)
{
	char bytes[NOTIFICATION_LARGEST + 1];
	FILE *file = fopen(path, "rb");
	size_t n;

	if (file == NULL) {
		report(c, path);
		return;
	}
	n = fread(bytes, 1, sizeof(bytes), file);
	if (ferror(file))
		report(c, path);
	else
		judge(c, path, (struct view){bytes, n});
	fclose(file);
}

static int is_shown(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static bool is_folder(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* The next folder on the way down, as a list so that nothing recurses. */
struct folder {
	struct folder *next;
	char *path;
};

static void push_folder(struct folder **stack, char *path)
{
	struct folder *f = mem_new(sizeof(*f));

	f->next = *stack;
	f->path = path;
	*stack = f;
}

/* Judges the files of a folder in order of their names and notes its folders. A link to a folder is
 * not followed: it may lead back. */
static void judge_entries(struct verify *c, const char *path, struct folder **stack)
{
	struct dirent **entries;
	int n = scandir(path, &entries, is_shown, alphasort);
	struct stat st;

	if (n < 0)
		report(c, path);
	for (int i = 0; i < n; i++) {
		char *inner = mem_printf("%s/%s", path, entries[i]->d_name);

		if (lstat(inner, &st) == 0 && S_ISDIR(st.st_mode)) {
			push_folder(stack, inner);
		} else {
			if (!is_folder(inner))
				judge_file(c, inner);
			free(inner);
		}
		free(entries[i]);
	}
	if (n >= 0)
		free(entries);
}

static void judge_path(struct verify *c, const char *path)
{
	struct folder *stack = NULL;

	if (!is_folder(path)) {
		judge_file(c, path);
		return;
	}
	push_folder(&stack, mem_text(path));
	while (stack) {
		struct folder *f = stack;

		stack = f->next;
		judge_entries(c, f->path, &stack);
		free(f->path);
		free(f);
	}
}

static void judge_lines(struct verify *c)
{
	char *line = NULL;
	size_t size = 0;
	ssize_t n;
	unsigned long number = 0;

	while ((n = getline(&line, &size, stdin)) >= 0) {
		char source[24];
		bool newline = n > 0 && line[n - 1] == '\n';

		snprintf(source, sizeof(source), "%lu", ++number);
		judge(c, source, (struct view){line, (size_t)n - newline});
	}
	if (ferror(stdin))
		report(c, "stdin");
	free(line);
}

/* The topic is judged once; its verdict stands with each message. */
static void judge_topic(struct verify *c)
{
	c->topic_bytes = mem_text(c->topic_text);
	c->topic = (struct view){c->topic_bytes, verdict_unescape(c->topic_bytes)};
	verify_topic(&c->settings, c->topic, &c->parts, &c->topic_findings);
}

static int judge_operands(struct verify *c, int count, char **operands)
{
	if (c->live.where.url)
		return verify_live(&c->live, &c->settings, count, operands);
	if (count == 0) {
		fprintf(stderr, "isobar verify: no file given; see isobar verify --help\n");
		return CLI_USAGE;
	}
	if (c->topic_text)
		judge_topic(c);
	for (int i = 0; i < count; i++) {
		if (strcmp(operands[i], "-") == 0)
			judge_lines(c);
		else
			judge_path(c, operands[i]);
	}
	free(c->topic_bytes);
	return c->unreadable ? CLI_ENVIRONMENT : c->refused ? CLI_NO : CLI_DONE;
}

int cli_verify(int argc, char **argv)
{
	static const char *const modes[] = {"lenient", "standard", "strict", NULL};
	struct verify c = {
		.mode = "standard", .settings.test_centres = true, .live.for_ms = 60 * 1000};
	int at = arguments_read(&table, argc, argv, &c);
	unsigned mode;
	int status;

	if (at < 0)
		return arguments_status(at);
	if (!verdict_read_choice("verify", "mode", c.mode, modes, &mode) ||
		!verdict_load_hierarchy("verify", &c.settings.known))
		return CLI_USAGE;
	c.settings.mode = (enum rule_mode)mode;
	status = judge_operands(&c, argc - at, argv + at);
	hierarchy_unref(c.settings.known.hierarchy);
	return status;
}
