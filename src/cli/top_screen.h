/* cli/top_screen.h - a terminal that is drawn on as a whole: keys, size, and giving it back
 *
 * The second screen of the terminal, by the few sequences that every one since the VT220 knows; so
 * what stood there before is there again at the end, however the program ends but by kill -9.
 *
 * Threads: one.
 */
#ifndef CLI_TOP_SCREEN_H
#define CLI_TOP_SCREEN_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <termios.h>

#include "base/view.h"

enum screen_key {
	SCREEN_NONE,
	SCREEN_RESIZED,
	SCREEN_END, /* a signal, Ctrl-C, or the terminal is gone */
	SCREEN_UP,
	SCREEN_DOWN,
	SCREEN_OTHER, /* *letter */
};

struct screen {
	int signals; /* signalfd */
	struct termios before;
	sigset_t mask_before;
};

/* Standard input and output are terminals. False: they are none, or cannot be set (errno). */
bool screen_open(struct screen *s);
void screen_close(struct screen *s);

void screen_size(uint32_t *width, uint32_t *height);

/* Shows the lines (each with its line end) from the top, the one of this number marked. */
void screen_draw(struct view lines, uint32_t marked);

/* What happens within wait_ms. */
enum screen_key screen_wait(struct screen *s, uint64_t wait_ms, char *letter);

#endif
