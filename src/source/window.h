/* source/window.h - what was received and may not be acknowledged yet, in the order of PUBLISH
 *
 * PUBACKs leave in the order of their PUBLISH packets [MQTT-4.6.0-2], whatever order the commits
 * are done in. Each PUBLISH takes a place; a token names it. QoS 0 takes one too, with packet id 0.
 *
 *     head                        tail
 *       | done | open | done | open |        only the done ones at the head may leave
 *
 * Pure. Threads: one at a time.
 */
#ifndef SOURCE_WINDOW_H
#define SOURCE_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

#define WINDOW_MOST 65536u /* more packet ids than this do not exist */

struct window_place {
	uint16_t packet_id; /* 0: nothing to acknowledge */
	uint16_t centre;    /* whose message it is, source/firsts.h; 0: not known */
	uint8_t qos;
	bool done;
};

/* Zero-initialised is empty and valid. */
struct window {
	struct window_place *places; /* a ring; size is a power of two or 0 */
	uint32_t size;
	uint32_t head;
	uint32_t tail;
	uint32_t unacknowledged; /* places with a packet id */
};

void window_fini(struct window *w);

static inline bool window_is_full(const struct window *w)
{
	return w->tail - w->head == WINDOW_MOST;
}

static inline bool window_is_empty(const struct window *w)
{
	return w->tail == w->head;
}

/* Takes the next place and gives its token. The window is not full. */
uint32_t window_take(struct window *w, uint16_t packet_id, uint8_t qos);

/* Gives back the newest places, down to and with this token. */
void window_give_back(struct window *w, uint32_t token);

/* Whose message this token stands for. */
void window_set_centre(struct window *w, uint32_t token, uint16_t centre);

/* The message of this token is published, a repeat, or refused for good. Gives its centre. */
uint16_t window_done(struct window *w, uint32_t token);

/* Removes the oldest place if it is done. False: nothing may leave. */
bool window_pop(struct window *w, struct window_place *out);

/* The connection is gone: its packet ids mean nothing any more; places stay until they are done. */
void window_abandon(struct window *w);

#endif
