#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"

#define VALUE_BYTES 120

static atomic_int least_level = LOG_INFO;
static atomic_bool as_json;

static _Atomic uint64_t lines[LOG_ERROR + 1]; /* lines, by level */

static const char *const level_names[] = {"debug", "info", "warn", "error"};

void log_configure(enum log_level least, bool json)
{
	atomic_store(&least_level, (int)least);
	atomic_store(&as_json, json);
}

bool log_enabled(enum log_level level)
{
	return (int)level >= atomic_load_explicit(&least_level, memory_order_relaxed);
}

uint64_t log_written(enum log_level level)
{
	return atomic_load_explicit(&lines[level], memory_order_relaxed);
}

static void write_json(struct buf *line, const char *time, const char *level, const char *room,
	const char *event, struct view details)
{
	buf_printf(line, "{\"time\":\"%s\",\"level\":\"%s\",\"room\":\"%s\",\"event\":", time,
		level, room);
	buf_json_string(line, view_of(event));
	buf_text(line, ",\"details\":");
	buf_json_string(line, details);
	buf_text(line, "}\n");
}

void log_event(enum log_level level, const char *room, const char *event, const char *format, ...)
{
	struct buf line = {0};
	struct buf details = {0};
	char time[CLOCK_TEXT_BYTES];
	va_list args;

	if (!log_enabled(level))
		return;
	atomic_fetch_add_explicit(&lines[level], 1, memory_order_relaxed);
	va_start(args, format);
	buf_vprintf(&details, format, args);
	va_end(args);
	clock_format(clock_wall_ms(), time);
	if (atomic_load(&as_json))
		write_json(&line, time, level_names[level], room, event, buf_view(&details));
	else
		buf_printf(&line, "%s %-5s %s %s%s%.*s\n", time, level_names[level], room, event,
			buf_length(&details) ? " " : "", VIEW_ARG(buf_view(&details)));
	if (write(STDERR_FILENO, line.data, line.end) < 0) {
		/* nobody left to tell */
	}
	buf_fini(&details);
	buf_fini(&line);
}

const char *log_quote(const char *p, unsigned long n, char room_for[LOG_QUOTE_BYTES])
{
	char *to = room_for;
	unsigned long shown = n > VALUE_BYTES ? VALUE_BYTES : n;

	*to++ = '"';
	for (unsigned long i = 0; i < shown; i++) {
		unsigned char c = (unsigned char)p[i];

		if (c == '"' || c == '\\') {
			*to++ = '\\';
			*to++ = (char)c;
		} else if (c < 0x20 || c >= 0x7f) {
			to += snprintf(to, 5, "\\x%02x", c);
		} else {
			*to++ = (char)c;
		}
	}
	memcpy(to, shown < n ? "...\"" : "\"", shown < n ? 5 : 2);
	return room_for;
}

bool log_allowed(struct log_limit *limit, uint64_t now_ms, uint64_t every_ms, uint64_t *skipped)
{
	if (now_ms < limit->next_ms) {
		limit->skipped++;
		return false;
	}
	*skipped = limit->skipped;
	limit->skipped = 0;
	limit->next_ms = now_ms + every_ms;
	return true;
}
