/* journal/segment.h - one segment: its two files, their head, its maps
 *
 * The index file begins with a head of 4096 bytes: who this is (struct segment_head, written once,
 * before the first record) and, 2048 bytes in, the mark that closes it (struct segment_seal,
 * written when everything else is on disk). Each has a checksum of its own, so a torn or stale
 * one does not pass. Numbers stand in the machine's byte order; a foreign order fails the magic.
 *
 * Files are named by the segment's number: its first sequence number is not known yet when the
 * files are made ahead of need.
 *
 * Threads: the keeper makes, seals and removes; fields marked (lock) are under the journal's lock.
 */
#ifndef JOURNAL_SEGMENT_H
#define JOURNAL_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "journal/journal.h"
#include "journal/system.h"

#define SEGMENT_HEAD_BYTES 4096u
#define SEGMENT_SEAL_AT 2048u
#define SEGMENT_NAME_BYTES 40
#define SEGMENT_OPEN UINT64_MAX      /* end of a segment still appended to */
#define SEGMENT_BYTES_PER_ENTRY 256u /* one index entry for so many bytes of packets */

struct segment_head {
	uint64_t magic;
	uint32_t format; /* JOURNAL_FORMAT */
	uint32_t number;
	uint64_t base;
	uint64_t seed; /* of the checksums */
	uint32_t packets_size;
	uint32_t capacity; /* entries */
	uint64_t made_ms;  /* journal_now() */
	uint64_t checksum;
};

struct segment_seal {
	uint64_t magic;
	uint64_t seed; /* the head's: a mark of another life does not pass */
	uint64_t count;
	uint64_t packets_bytes;
	uint64_t first_ms;
	uint64_t last_ms;
	uint64_t checksum;
};

struct segment {
	struct list link; /* journal.segments (lock) */
	uint32_t number;
	uint32_t capacity;     /* entries the index has room for */
	uint32_t packets_size; /* bytes the packets file has room for */
	uint64_t base;
	uint64_t end; /* SEGMENT_OPEN (lock) */
	uint64_t seed;
	uint64_t packets_bytes; /* in use (lock) */
	uint64_t first_ms;      /* of the first and last record; 0 when empty (lock) */
	uint64_t last_ms;
	int packets_fd; /* -1: closed */
	int index_fd;
	uint8_t *packets; /* maps; NULL: none */
	uint8_t *index;
	size_t packets_map;
	size_t index_map;
	bool has_packets; /* which files there are (lock) */
	bool has_index;
	bool has_summary;
	bool sealed; /* (lock) */
	bool dirty;  /* appended since the last sync (lock) */
};

/* "0000000042.packets"; kind: packets, index, topics, bad. */
void segment_name(char out[SEGMENT_NAME_BYTES], uint32_t number, const char *kind);
/* Every file of the folder that is named so, in no order; kind: ".packets". 0 or ERR_SYSTEM. */
int segment_each_file(
	int dir, void (*on_file)(void *context, uint32_t number, const char *kind), void *context);

/* A segment without files. */
struct segment *segment_new(uint32_t number);
/* Unmaps, closes, frees; the files stay. */
void segment_free(struct segment *s);

/* Makes both files with all their space, maps them, puts their names on disk. 0, ERR_HELD (no
 * space) or ERR_SYSTEM, with nothing left behind. */
int segment_create(struct segment *s, int dir, const struct journal_system *sys);

/* Opens the index, and the packets when has_packets, and maps what the files hold. 0 or
 * ERR_SYSTEM. */
int segment_open(struct segment *s, int dir);
void segment_close_files(struct segment *s);

int segment_write_head(struct segment *s, const struct journal_system *sys, uint64_t now_ms);

enum segment_state {
	SEGMENT_UNUSED,   /* made ahead, never written */
	SEGMENT_DAMAGED,  /* no valid head */
	SEGMENT_NEWER,    /* valid, of a newer format */
	SEGMENT_UNSEALED, /* valid head: base, seed, sizes are filled in */
	SEGMENT_SEALED,   /* and count, end, times */
};
/* Reads the head of an open index file. */
enum segment_state segment_read_head(struct segment *s);

/* Trims both files to their data and syncs them. s->end and s->packets_bytes are final. */
int segment_trim(struct segment *s, const struct journal_system *sys);
/* Writes and syncs the closing mark. Everything else is on disk. */
int segment_write_seal(struct segment *s, const struct journal_system *sys);

static inline const struct journal_entry *segment_entries(const struct segment *s)
{
	return (const struct journal_entry *)(const void *)(s->index + SEGMENT_HEAD_BYTES);
}

/* Checksum of an entry and of its packet and properties, at `bytes`. */
uint32_t segment_checksum(
	uint64_t seed, uint64_t seq, const struct journal_entry *e, const uint8_t *bytes);

#endif
