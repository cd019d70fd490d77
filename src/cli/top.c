/* cli/top.c - `isobar top`: a running broker on a terminal
 *
 *     pages --top_fetch--> sample --\
 *                                     top_frame --> lines --> screen, or standard output with --once
 *     the sample before ------------/
 *
 * Drawn with a handful of control sequences instead of a terminal library: the program is a server that
 * runs where none is installed.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/arguments.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/top_fetch.h"
#include "cli/top_frame.h"
#include "cli/top_screen.h"

#define EVERY_MS 2000u
#define ONCE_WIDTH 80u

struct top {
	struct client_options where;
	uint64_t every_ms;
	const char *order;
	bool once;

	struct top_fetch *fetch;
	struct top_sample samples[2]; /* the newer one, and the one before */
	struct top_view view;
	struct buf page;
	struct buf lines;
	struct screen screen;
	bool has_screen;
	bool ended;
	uint64_t next_ms; /* monotonic: of the next sample */
	const char *why;  /* the last one failed; NULL: it did not */
};

#define FIELD(name) offsetof(struct top, name)

static const struct argument rows[] = {
	{'b', "broker", ARGUMENT_TEXT, FIELD(where.url), 0, 0, "URL",
		"its http or https listener (http://127.0.0.1:8080)"},
	{'u', "username", ARGUMENT_TEXT, FIELD(where.user), 0, 0, "USER",
		"for pages that ask for an account; instead of the URL's"},
	{'P', "password-file", ARGUMENT_TEXT, FIELD(where.password_file), 0, 0, "FILE",
		"its first line is the password"},
	{0, "ca", ARGUMENT_TEXT, FIELD(where.ca), 0, 0, "FILE",
		"certificates to trust with https:// (the system's)"},
	{0, "insecure", ARGUMENT_FLAG, FIELD(where.insecure), 0, 0, NULL,
		"do not verify the server's certificate"},
	{0, "every", ARGUMENT_DURATION, FIELD(every_ms), 0, 0, "TIME",
		"how often to look, 500ms at least (default: 2s)"},
	{0, "sort", ARGUMENT_TEXT, FIELD(order), 0, 0, "KEY",
		"n name (default), s state, r received, p published, d repeats, e errors, y delay, "
		"l last"},
	{0, "once", ARGUMENT_FLAG, FIELD(once), 0, 0, NULL,
		"print one frame, all sources, after two looks; for scripts"},
};

static const struct argument_table table = {"isobar top [options]",
	"Shows sources, rates, delays and subscribers of a running broker, and the nodes of its\n"
	"cluster. Rates are over the time between two looks; those of nodes over some seconds of\n"
	"their own. Keys sort (as --sort), up and down and space scroll, q quits.",
	rows, sizeof(rows) / sizeof(rows[0])};

/* --- samples ---------------------------------------------------------- */

static bool take_page(struct top *t, const char *path, struct top_sample *s,
	bool (*take)(struct top_sample *s, struct view page))
{
	if (!top_fetch_page(t->fetch, path, &t->page, &t->why))
		return false;
	if (take(s, buf_view(&t->page)))
		return true;
	t->why = "it answers, but not as isobar does";
	return false;
}

static bool take_metrics(struct top_sample *s, struct view page)
{
	top_read_metrics(s, page);
	return true;
}

/* A new sample in the place of the older one; false: t->why, and both are as they were. */
static bool look(struct top *t)
{
	struct top_sample s = {.at_ms = clock_mono_ms(), .wall_ms = clock_wall_ms()};

	if (!take_page(t, "/api/v1/status", &s, top_read_status) ||
		!take_page(t, "/api/v1/sources", &s, top_read_sources) ||
		!take_page(t, "/metrics", &s, take_metrics)) {
		top_sample_fini(&s);
		return false;
	}
	top_sample_fini(&t->samples[1]);
	t->samples[1] = t->samples[0];
	t->samples[0] = s;
	t->why = NULL;
	return true;
}

static void make_frame(struct top *t)
{
	buf_clear(&t->lines);
	top_frame(&t->view, &t->samples[0], &t->samples[1], &t->lines);
}

/* --- the screen -------------------------------------------------------- */

static void draw(struct top *t)
{
	screen_size(&t->view.width, &t->view.height);
	make_frame(t);
	if (t->why) { /* figures are old: say so where they are dated */
		struct buf told = {0};

		buf_printf(&told, "%.*s\n", (int)t->view.width, t->why);
		buf_append(&told, buf_bytes(&t->lines), buf_length(&t->lines));
		screen_draw(buf_view(&told), 1);
		buf_fini(&told);
		return;
	}
	screen_draw(buf_view(&t->lines), top_head_lines(&t->samples[0]));
}

static void on_letter(struct top *t, char letter)
{
	uint32_t head = top_head_lines(&t->samples[0]);
	uint32_t page = t->view.height > head + 2 ? t->view.height - head - 2 : 1;

	if (letter == 'q')
		t->ended = true;
	else if (letter == ' ')
		t->view.first += page;
	else if (top_order_of(letter, &t->view.order))
		t->view.first = 0;
}

static void on_key(struct top *t, enum screen_key key, char letter)
{
	if (key == SCREEN_END)
		t->ended = true;
	else if (key == SCREEN_UP)
		t->view.first -= t->view.first > 0;
	else if (key == SCREEN_DOWN)
		t->view.first++;
	else if (key == SCREEN_OTHER)
		on_letter(t, letter);
}

/* While a page is slow to come. */
static bool goes_on(void *context)
{
	struct top *t = context;
	char letter = 0;

	if (t->has_screen)
		on_key(t, screen_wait(&t->screen, 0, &letter), letter);
	return !t->ended;
}

static void run_screen(struct top *t)
{
	while (!t->ended) {
		uint64_t now = clock_mono_ms();
		enum screen_key key;
		char letter = 0;

		if (now >= t->next_ms) {
			(void)look(t);
			t->next_ms = clock_mono_ms() + t->every_ms;
			draw(t);
			continue;
		}
		key = screen_wait(&t->screen, t->next_ms - now, &letter);
		on_key(t, key, letter);
		if (key != SCREEN_NONE && !t->ended)
			draw(t);
	}
}

/* --- the command ------------------------------------------------------ */

static int failed(const struct top *t)
{
	fprintf(stderr, "isobar top: %s: %s\n", top_fetch_shown(t->fetch), t->why);
	return CLI_ENVIRONMENT;
}

static int print_once(struct top *t)
{
	t->view.width = ONCE_WIDTH;
	if (!look(t))
		return failed(t);
	usleep((useconds_t)(t->every_ms * 1000));
	if (!look(t))
		return failed(t);
	make_frame(t);
	fwrite(buf_bytes(&t->lines), 1, buf_length(&t->lines), stdout);
	return CLI_DONE;
}

/* The first look is made before the screen is taken: what is wrong then stays to be read. */
static int show(struct top *t)
{
	if (!look(t))
		return failed(t);
	t->has_screen = screen_open(&t->screen);
	if (!t->has_screen) {
		fprintf(stderr,
			"isobar top: standard input and output are no terminal; --once prints "
			"one frame\n");
		return CLI_USAGE;
	}
	t->next_ms = clock_mono_ms() + 500; /* rates soon */
	draw(t);
	run_screen(t);
	screen_close(&t->screen);
	return CLI_DONE;
}

static bool judge_options(struct top *t)
{
	if (t->order && (strlen(t->order) != 1 || !top_order_of(t->order[0], &t->view.order))) {
		fprintf(stderr, "isobar top: --sort %s: one of n s r p d e y l is right\n",
			t->order);
		return false;
	}
	if (t->every_ms < 500 || t->every_ms > 3600000) {
		fprintf(stderr, "isobar top: --every: 500ms to 1h are right\n");
		return false;
	}
	return true;
}

int cli_top(int argc, char **argv)
{
	struct top t = {.every_ms = EVERY_MS};
	int at = arguments_read(&table, argc, argv, &t);
	int status = CLI_USAGE;

	if (at < 0)
		return arguments_status(at);
	if (at != argc)
		fprintf(stderr, "isobar top: %s: no operand is taken; -b URL says which broker\n",
			argv[at]);
	else if (judge_options(&t)) {
		t.fetch = top_fetch_new(&t.where, goes_on, &t);
		if (t.fetch)
			status = t.once ? print_once(&t) : show(&t);
	}
	top_fetch_free(t.fetch);
	for (unsigned i = 0; i < 2; i++)
		top_sample_fini(&t.samples[i]);
	buf_fini(&t.page);
	buf_fini(&t.lines);
	return status;
}
