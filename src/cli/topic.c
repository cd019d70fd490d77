/* `isobar topic`: judges topics against the WIS2 Topic Hierarchy. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/arguments.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/verdict.h"
#include "wis2/topic.h"

struct topic_command {
	bool json;
	bool leaf_only;
	bool metadata_subtopics;
	bool test_centres;
	struct verdict_hierarchy known;
	struct topic_options options;
	bool refused; /* a topic was invalid */
};

#define FIELD(name) offsetof(struct topic_command, name)

static const struct argument rows[] = {
	{0, "json", ARGUMENT_FLAG, FIELD(json), 0, 0, NULL, "print one JSON object a line"},
	{0, "leaf", ARGUMENT_SWITCH, FIELD(leaf_only), 0, 0, "any|only",
		"only: refuse topics that are not leaves (default: any)"},
	{0, "metadata-subtopics", ARGUMENT_SWITCH, FIELD(metadata_subtopics), 0, 0, "no|yes",
		"let a data path follow metadata"},
	{0, "test-centres", ARGUMENT_SWITCH, FIELD(test_centres), 0, 0, "no|yes",
		"accept centre identifiers that end in -test (default: yes)"},
	{0, "hierarchy", ARGUMENT_TEXT, FIELD(known.path), 0, 0, "PATH",
		"a folder or zip with newer tables of the topic hierarchy (default: built-in)"},
	{0, "centre", ARGUMENT_TEXT, FIELD(known.centres), 0, 0, "IDS",
		"further centre identifiers that count as known, parted by commas"},
};

static const struct argument_table table = {"isobar topic [options] TOPIC...|-",
	"Judges topics against the WIS2 Topic Hierarchy: says which rule a topic breaks, at which\n"
	"level, and the nearest valid name. With - topics are read from stdin, one a line. \\xHH\n"
	"stands for one byte. Exit status 1 when a topic is invalid.",
	rows, sizeof(rows) / sizeof(rows[0])};

/* Judges one topic; text is as it was given, with escapes. */
static void judge(struct topic_command *c, const char *text)
{
	char *bytes = mem_text(text);
	struct view topic = {bytes, verdict_unescape(bytes)};
	struct topic_parts parts;
	struct findings found;
	struct verdict verdict = {.source = text, .topic = topic, .topic_findings = &found};
	struct buf head = {0};

	if (topic_judge(c->known.hierarchy, topic, &c->options, &parts, &found))
		c->refused = true;
	if (c->json) {
		buf_text(&head, "\"topic\":");
		buf_json_string(&head, view_of(text));
		buf_text(&head, ",");
		verdict_print_json(&verdict, &head);
		buf_fini(&head);
	} else {
		verdict_print_text(&verdict);
	}
	free(bytes);
}

/* Every line of stdin, empty ones too. */
static int judge_lines(struct topic_command *c)
{
	char *line = NULL;
	size_t size = 0;
	ssize_t n;
	int status = CLI_DONE;

	while ((n = getline(&line, &size, stdin)) >= 0) {
		if (n > 0 && line[n - 1] == '\n')
			line[n - 1] = '\0';
		judge(c, line);
	}
	if (ferror(stdin)) {
		fprintf(stderr, "isobar topic: cannot read stdin: %s\n", strerror(errno));
		status = CLI_ENVIRONMENT;
	}
	free(line);
	return status;
}

int cli_topic(int argc, char **argv)
{
	struct topic_command c = {.test_centres = true};
	int at = arguments_read(&table, argc, argv, &c);
	int status = CLI_DONE;

	if (at < 0)
		return arguments_status(at);
	if (at == argc) {
		fprintf(stderr, "isobar topic: no topic given; see isobar topic --help\n");
		return CLI_USAGE;
	}
	c.options = (struct topic_options){
		c.leaf_only, c.metadata_subtopics, c.test_centres, true, NULL};
	if (!verdict_load_hierarchy("topic", &c.known))
		return CLI_USAGE;
	for (; at < argc && status == CLI_DONE; at++) {
		if (strcmp(argv[at], "-") == 0)
			status = judge_lines(&c);
		else
			judge(&c, argv[at]);
	}
	hierarchy_unref(c.known.hierarchy);
	return status ? status : c.refused ? CLI_NO : CLI_DONE;
}
