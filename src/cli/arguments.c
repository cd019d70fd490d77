/* cli/arguments.c - getopt_long driven by a table
 *
 * Each row becomes an entry for getopt_long(); a value that is read goes through the reader of its
 * kind. A reader leaves the field alone when it refuses, and the fault names the option.
 */
#include "cli/arguments.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "cli/cli.h"
#include "mqtt/packet.h"

#define ROWS_MOST 40
#define FIRST_LONG 256 /* what getopt_long gives for row i is FIRST_LONG + i */

static bool read_number(const char *text, const char **rest, uint64_t *out)
{
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*out = strtoull(text, &end, 10);
	*rest = end;
	return errno == 0;
}

static bool put_flag(const struct argument *a, const char *text, void *field)
{
	(void)a, (void)text;
	*(bool *)field = true;
	return true;
}

static bool put_number(const struct argument *a, const char *text, void *field)
{
	const char *rest;
	uint64_t value;

	if (!read_number(text, &rest, &value) || *rest || value < a->least || value > a->most)
		return false;
	*(uint64_t *)field = value;
	return true;
}

static bool put_share(const struct argument *a, const char *text, void *field)
{
	char *end;
	double value = strtod(text, &end);

	(void)a;
	if (end == text)
		return false;
	if (strcmp(end, "%") == 0) {
		value /= 100;
		end++;
	}
	if (*end || !(value >= 0 && value <= 1))
		return false;
	*(double *)field = value;
	return true;
}

bool argument_duration(const char *text, uint64_t *ms)
{
	static const struct {
		const char *unit;
		uint64_t ms;
	} units[] = {
		{"", 1000}, {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
	const char *rest;
	uint64_t value;

	if (!read_number(text, &rest, &value) || value > UINT32_MAX)
		return false;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(rest, units[i].unit) == 0) {
			*ms = value * units[i].ms;
			return true;
		}
	}
	return false;
}

static bool put_duration(const struct argument *a, const char *text, void *field)
{
	(void)a;
	return argument_duration(text, field);
}

static bool put_protocol(const struct argument *a, const char *text, void *field)
{
	bool five = strcmp(text, "5") == 0;

	(void)a;
	if (!five && strcmp(text, "4") != 0 && strcmp(text, "3.1.1") != 0)
		return false;
	*(uint8_t *)field = five ? MQTT_5 : MQTT_3_1_1;
	return true;
}

static bool put_text(const struct argument *a, const char *text, void *field)
{
	(void)a;
	*(const char **)field = text;
	return true;
}

static bool put_list(const struct argument *a, const char *text, void *field)
{
	struct argument_list *list = field;

	(void)a;
	if (list->count == ARGUMENT_LIST_MOST)
		return false;
	list->items[list->count++] = text;
	return true;
}

/* Which of the words "no|yes" is it? 0 or 1, -1: neither. */
static int switch_word(const struct argument *a, const char *text)
{
	size_t first = strcspn(a->value, "|");
	size_t n = strlen(text);

	if (n == first && memcmp(text, a->value, n) == 0)
		return 0;
	return strcmp(text, a->value + first + 1) == 0 ? 1 : -1;
}

static bool put_switch(const struct argument *a, const char *text, void *field)
{
	int word = text ? switch_word(a, text) : 1;

	if (word < 0)
		return false;
	*(bool *)field = word == 1;
	return true;
}

static const struct {
	bool (*put)(const struct argument *a, const char *text, void *field);
	const char *wanted;
} kinds[] = {
	[ARGUMENT_FLAG] = {put_flag, ""},
	[ARGUMENT_NUMBER] = {put_number, "a whole number"},
	[ARGUMENT_SHARE] = {put_share, "a share such as 0.2 or 20%"},
	[ARGUMENT_DURATION] = {put_duration, "a duration such as 30s, 15m or 6h"},
	[ARGUMENT_PROTOCOL] = {put_protocol, "5 or 3.1.1"},
	[ARGUMENT_TEXT] = {put_text, "a text"},
	[ARGUMENT_SWITCH] = {put_switch, "one of the two words that help names"},
	[ARGUMENT_LIST] = {put_list, "at most 64 of them"},
};

static void print_help(const struct argument_table *t)
{
	printf("Usage: %s\n\n%s\n\nOptions:\n", t->usage, t->about);
	for (size_t i = 0; i < t->count; i++) {
		const struct argument *a = &t->rows[i];
		char left[64];

		snprintf(left, sizeof(left), "%c%c%s --%s %s", a->letter ? '-' : ' ',
			a->letter ? a->letter : ' ', a->letter ? "," : " ", a->name,
			a->value ? a->value : "");
		printf("  %-30s %s\n", left, a->help);
	}
	printf("  -h, --help                     print this\n");
}

static int report(const struct argument *a, const char *text)
{
	fprintf(stderr, "isobar: --%s %s: should be %s", a->name, text, kinds[a->kind].wanted);
	if (a->kind == ARGUMENT_NUMBER)
		fprintf(stderr, " from %llu to %llu", (unsigned long long)a->least,
			(unsigned long long)a->most);
	fputc('\n', stderr);
	return ARGUMENTS_WRONG;
}

/* getopt's two tables; `letters` begins with ':' so that it stays silent. */
static void prepare(const struct argument_table *t, struct option *names, char *letters)
{
	*letters++ = ':';
	*letters++ = 'h';
	for (size_t i = 0; i < t->count; i++) {
		const struct argument *a = &t->rows[i];
		int has_value = a->kind == ARGUMENT_FLAG     ? no_argument
				: a->kind == ARGUMENT_SWITCH ? optional_argument
							     : required_argument;

		names[i] = (struct option){a->name, has_value, NULL, FIRST_LONG + (int)i};
		if (a->letter)
			*letters++ = a->letter;
		if (a->letter && has_value)
			*letters++ = ':';
	}
	names[t->count] = (struct option){"help", no_argument, NULL, 'h'};
	names[t->count + 1] = (struct option){NULL, 0, NULL, 0};
	*letters = '\0';
}

/* Half a name is none: it would mean another option one day, and `--password` is no --password-file. */
static bool is_whole(char **argv, const struct argument *a)
{
	bool is_apart = optarg && optarg == argv[optind - 1];
	const char *word = argv[optind - (is_apart ? 2 : 1)] + 2;
	size_t n = strcspn(word, "=");

	return strlen(a->name) == n && memcmp(word, a->name, n) == 0;
}

static const struct argument *row_of(const struct argument_table *t, int got)
{
	if (got >= FIRST_LONG)
		return &t->rows[got - FIRST_LONG];
	for (size_t i = 0; i < t->count; i++) {
		if (t->rows[i].letter == got)
			return &t->rows[i];
	}
	return NULL;
}

int arguments_read(const struct argument_table *table, int argc, char **argv, void *out)
{
	struct option names[ROWS_MOST + 2];
	char letters[2 * ROWS_MOST + 4];
	int got;

	check(table->count <= ROWS_MOST);
	prepare(table, names, letters);
	optind = 0; /* glibc: begin anew */
	while ((got = getopt_long(argc, argv, letters, names, NULL)) != -1) {
		const struct argument *a = row_of(table, got);

		if (got == 'h') {
			print_help(table);
			return ARGUMENTS_HELP;
		}
		if (a && got >= FIRST_LONG && !is_whole(argv, a)) {
			got = '?';
			a = NULL;
		}
		if (a == NULL) {
			fprintf(stderr, "isobar %s: %s %s; see isobar %s --help\n", argv[0],
				got == ':' ? "a value is missing behind" : "unknown option",
				argv[optind - 1], argv[0]);
			return ARGUMENTS_WRONG;
		}
		if (a->kind == ARGUMENT_SWITCH && optarg == NULL && optind < argc &&
			switch_word(a, argv[optind]) >= 0)
			optarg = argv[optind++];
		if (!kinds[a->kind].put(a, optarg, (char *)out + a->offset))
			return report(a, optarg);
	}
	return optind;
}

int arguments_status(int result)
{
	return result == ARGUMENTS_HELP ? CLI_DONE : CLI_USAGE;
}
