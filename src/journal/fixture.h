/* journal/fixture.h - what the tests of this room share: a folder, messages by number, a clock
 *
 * Message n is the same bytes in every test, so that a record read back can be compared without
 * keeping what was written.
 */
#ifndef JOURNAL_FIXTURE_H
#define JOURNAL_FIXTURE_H

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "journal/internal.h"
#include "journal/journal.h"

#define FIXTURE_PAYLOAD 3000
#define FIXTURE_HOUR UINT64_C(3600000)

struct fixture_message {
	struct journal_message m;
	char topic[64];
	char payload[FIXTURE_PAYLOAD];
	char properties[16];
};

/* Message n; payloads of at most `most` bytes. */
static inline void fixture_message(struct fixture_message *f, uint64_t n, size_t most)
{
	uint64_t x = n * UINT64_C(0x9E3779B97F4A7C15) + 1;
	size_t payload = (size_t)(x >> 33) % (most + 1);
	int topic = snprintf(
		f->topic, sizeof(f->topic), "cache/a/wis2/xx-centre-%u/data", (unsigned)(n % 7));

	for (size_t i = 0; i < payload; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		f->payload[i] = (char)x;
	}
	memcpy(f->properties, "\x01\x01", 2);
	f->m = (struct journal_message){
		.topic = {f->topic, (size_t)topic},
		.payload = {f->payload, payload},
		.properties = {f->properties, n % 3 ? 0 : 2},
		.log_id = n * 3,
		.expiry_s = (uint32_t)n,
		.publisher = (uint16_t)n,
		.shard = (uint8_t)n,
		.flags = n % 2 ? JOURNAL_CLAIMED : JOURNAL_UTF8,
		.qos = (uint8_t)(n % 3),
	};
	memcpy(f->m.id.b, &n, sizeof(n));
}

static inline uint64_t fixture_cost(const struct journal_message *m)
{
	return m->topic.n + m->payload.n + m->properties.n + 16;
}

/* Appends messages [from, from + n) as one batch under the lock. */
static inline int fixture_append(struct journal *j, uint64_t from, uint32_t n, size_t most)
{
	struct fixture_message *f = mem_new(n * sizeof(*f));
	const struct journal_message **list = mem_new(n * sizeof(*list));
	uint64_t bytes = 0;
	int err;

	for (uint32_t i = 0; i < n; i++) {
		fixture_message(&f[i], from + i, most);
		list[i] = &f[i].m;
		bytes += fixture_cost(&f[i].m);
	}
	journal_lock(j);
	err = journal_reserve(j, bytes, n);
	if (err == 0)
		err = journal_append(j, list, n);
	journal_unlock(j);
	free(f);
	free(list);
	return err;
}

/* Like it, but makes the keeper's rounds itself while appends are held. */
static inline int fixture_append_all(
	struct journal *j, uint64_t from, uint64_t n, uint32_t batch, size_t most)
{
	for (uint64_t at = 0; at < n; at += batch) {
		uint32_t now = n - at < batch ? (uint32_t)(n - at) : batch;
		int err = fixture_append(j, from + at, now, most);

		for (int tries = 0; err == ERR_HELD && tries < 100; tries++) {
			keeper_pass(j);
			err = fixture_append(j, from + at, now, most);
		}
		if (err)
			return err;
	}
	return 0;
}

static inline bool fixture_packet_is(
	const struct journal_entry *e, const uint8_t *p, const struct journal_message *m)
{
	size_t head = e->header_bytes;

	return p[0] == 0x30 && p[head] == m->topic.n >> 8 && p[head + 1] == (uint8_t)m->topic.n &&
	       e->packet_bytes == head + 2 + m->topic.n + m->payload.n &&
	       e->property_bytes == m->properties.n &&
	       memcmp(p + head + 2, m->topic.p, m->topic.n) == 0 &&
	       memcmp(p + head + 2 + m->topic.n, m->payload.p, m->payload.n) == 0 &&
	       memcmp(p + e->packet_bytes, m->properties.p, m->properties.n) == 0;
}

/* Is the record at seq message n, in all its parts? Between enter and leave. */
static inline bool fixture_record_is(const struct journal *j, uint64_t seq, uint64_t n, size_t most)
{
	const struct journal_segment *s = journal_find(j, seq);
	const struct journal_entry *e;
	struct fixture_message f;

	if (s == NULL || seq < s->base || seq >= s->end)
		return false;
	e = &s->entries[seq - s->base];
	fixture_message(&f, n, most);
	return fixture_packet_is(e, s->packets + e->offset, &f.m) &&
	       memcmp(&e->id, &f.m.id, sizeof(e->id)) == 0 && e->log_id == f.m.log_id &&
	       e->expiry_s == f.m.expiry_s && e->publisher == f.m.publisher &&
	       e->shard == f.m.shard && (e->flags & 0x3f) == f.m.flags &&
	       journal_entry_qos(e) == f.m.qos;
}

/* The first seq in [from, to) whose record is not the message of that number; `to` when all are. */
static inline uint64_t fixture_check(struct journal *j, uint64_t from, uint64_t to, size_t most)
{
	struct journal_reader r;

	journal_reader_open(j, &r);
	journal_reader_enter(&r);
	while (from < to && fixture_record_is(j, from, from, most))
		from++;
	journal_reader_leave(&r);
	journal_reader_close(&r);
	return from;
}

/* --- folders ------------------------------------------------------------ */

/* A new folder; the caller frees the name after fixture_remove(). */
static inline char *fixture_folder(void)
{
	const char *top = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
	char *dir = mem_printf("%s/isobar-journal-XX"
			       "XX"
			       "XX",
		top);

	return mkdtemp(dir);
}

/* Empties the folder. */
static inline void fixture_clear(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	while (d && (e = readdir(d)) != NULL)
		unlinkat(dirfd(d), e->d_name, 0);
	if (d)
		closedir(d);
}

static inline void fixture_remove(char *dir)
{
	fixture_clear(dir);
	rmdir(dir);
	free(dir);
}

/* How many files have this ending? */
static inline size_t fixture_count(const char *dir, const char *ending)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	size_t n = 0;

	while (d && (e = readdir(d)) != NULL) {
		size_t length = strlen(e->d_name);

		n += length > strlen(ending) &&
		     strcmp(e->d_name + length - strlen(ending), ending) == 0;
	}
	if (d)
		closedir(d);
	return n;
}

/* Copies every file of one folder into another. */
static inline void fixture_copy(const char *from, const char *to)
{
	DIR *d = opendir(from);
	struct dirent *e;

	while (d && (e = readdir(d)) != NULL) {
		char path[4096];
		char buffer[65536];
		ssize_t n;
		int in;
		int out;

		if (e->d_name[0] == '.')
			continue;
		in = openat(dirfd(d), e->d_name, O_RDONLY);
		snprintf(path, sizeof(path), "%s/%s", to, e->d_name);
		out = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
		while ((n = read(in, buffer, sizeof(buffer))) > 0) {
			if (write(out, buffer, (size_t)n) != n)
				abort();
		}
		close(in);
		close(out);
	}
	if (d)
		closedir(d);
}

/* Small segments and long times. */
static inline struct journal_config fixture_config(const char *dir)
{
	return (struct journal_config){
		.dir = dir,
		.keep_ms = 24 * FIXTURE_HOUR,
		.size_bytes = UINT64_C(1) << 30,
		.index_keep_ms = 24 * FIXTURE_HOUR,
		.least_ms = FIXTURE_HOUR,
		.sync = JOURNAL_SYNC_NEVER,
		.sync_ms = 1000,
		.segment_bytes = 64 << 10,
	};
}

#endif
