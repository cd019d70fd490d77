/* base/log.h - one event a line on stderr: "time level room event key=value ..."
 *
 * No payloads; secrets are masked by the caller. Info tells a story an operator
 * can read aloud, debug is per packet. The sink is the process's stderr, so its
 * level and format are process-wide; everything else hangs from a context.
 *
 * Threads: any; a line is written by one system call.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level {
	LOG_DEBUG, /* per packet */
	LOG_INFO,  /* what an operator would tell */
	LOG_WARN,  /* works, but somebody should look */
	LOG_ERROR, /* something does not work */
};

/* json: one JSON object a line instead of text. */
void log_configure(enum log_level least, bool json);

bool log_enabled(enum log_level level);

/* room "source", event "connected", details "key=value key=\"two words\"" by format.
 * Use log_quote() for values from outside. */
void log_event(enum log_level level, const char *room, const char *event, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

#define log_debug(...)                                     \
	do {                                               \
		if (log_enabled(LOG_DEBUG))                \
			log_event(LOG_DEBUG, __VA_ARGS__); \
	} while (0)
#define log_info(...) log_event(LOG_INFO, __VA_ARGS__)
#define log_warn(...) log_event(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_event(LOG_ERROR, __VA_ARGS__)

/* How many lines of this level were written since start. */
uint64_t log_written(enum log_level level);

/* A value from outside made safe for a line: at most 120 bytes, quotes and control characters
 * escaped, in double quotes. Gives `room_for` (a caller's array). */
#define LOG_QUOTE_BYTES 512
const char *log_quote(const char *p, unsigned long n, char room_for[LOG_QUOTE_BYTES]);

/* Repeated noise of a peer, summed: true at most once in `every_ms`; then *skipped is how many
 * were left out since. Zero-initialised. One thread at a time. */
struct log_limit {
	uint64_t next_ms;
	uint64_t skipped;
};
bool log_allowed(struct log_limit *limit, uint64_t now_ms, uint64_t every_ms, uint64_t *skipped);

#endif
