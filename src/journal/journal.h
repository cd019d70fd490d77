/* journal/journal.h - the append-only log that is every subscriber's queue
 *
 * Every accepted message is appended once; nothing else holds a copy. A record is known by its
 * sequence number `seq` (0, 1, 2 ... over the journal's whole life). Records lie in segments
 * of two preallocated files each:
 *
 *   <number>.packets  each message as a ready MQTT 3.1.1 QoS 0 PUBLISH packet, back to back;
 *                     behind a packet the MQTT 5 properties to forward, if any
 *   <number>.index    a head of 4096 bytes, then one 64-byte struct journal_entry per record
 *   <number>.topics   (topic, count) of a sealed segment; outlives the other two by a week
 *
 * Files are named by the segment's number, as the first seq of a segment made ahead of need is
 * not known yet; it stands in the head. Each start begins a new segment.
 *
 * Appended by pwritev under the journal's lock, read through read-only maps without any lock:
 * a reader loads journal_tail() and touches only records below it.
 *
 * **Invariant:** every record below the tail is complete; its checksum covers entry and packet.
 * Segments go (retention, full disk) only when every registered reader has been quiet since.
 *
 * Threads: a keeper thread (sync, preallocation, sealing, retention) and a prefetch thread are
 * the journal's own. Callers: see each function.
 */
#ifndef JOURNAL_JOURNAL_H
#define JOURNAL_JOURNAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "base/uuid.h"
#include "base/view.h"

#define JOURNAL_FORMAT 1                  /* on-disk format, in each segment's head */
#define JOURNAL_PACKET_LARGEST (4u << 20) /* packet and properties of one record */

/* --- opening ---------------------------------------------------------- */

enum journal_sync {
	JOURNAL_SYNC_ALWAYS,   /* safe = on disk; group commit */
	JOURNAL_SYNC_INTERVAL, /* safe = written; on disk at most sync_ms later */
	JOURNAL_SYNC_NEVER,    /* safe = written */
};

struct journal_system; /* journal/system.h */
struct journal_entry;

struct journal_config {
	const char *dir;        /* made when absent */
	uint64_t keep_ms;       /* packets are kept this long ... */
	uint64_t size_bytes;    /* ... or this much, whichever comes first */
	uint64_t index_keep_ms; /* index files are kept this long (the antiloop's window) */
	uint64_t least_ms;      /* a full disk removes segments down to this age, then holds */
	enum journal_sync sync;
	uint32_t sync_ms;
	uint32_t segment_bytes; /* of a packets file; 0: size/64 within 8 MiB to 256 MiB */
	/* Called during journal_open() for every record whose index is still there and whose age is
	 * within index_keep_ms, oldest first. age: see journal_now(). May be NULL. */
	void (*on_index)(void *context, uint64_t seq, const struct journal_entry *e);
	void *context;
	const struct journal_system *system; /* NULL: the machine's; tests make calls fail */
};

struct journal;

/* 0; ERR_IN_USE (another process has the folder), ERR_SYSTEM (errno), ERR_CORRUPT (a format of a
 * newer version); *why is then a text to free(). Damage in the last segments is cut off and
 * logged, never an error. Starts the journal's threads. */
int journal_open(struct journal **out, const struct journal_config *config, char **why);
/* Stops the threads, syncs, seals. No reader may be active. */
void journal_close(struct journal *j);

/* From now on a page of the journal that the disk cannot give (SIGBUS) is named on stderr and ends
 * the process with this status; the next journal_open() leaves that segment out. Once, at start. */
#define JOURNAL_EXIT_UNREADABLE 74 /* EX_IOERR of sysexits.h */
void journal_guard_sigbus(void);

/* The journal's clock: milliseconds that never go back, anchored at open to the wall clock or to
 * the newest record, whichever is later, then running with monotonic time. */
uint64_t journal_now(const struct journal *j);

/* --- appending -------------------------------------------------------- */

enum journal_flags {
	JOURNAL_CLAIMED = 1, /* id passed the antiloop */
	JOURNAL_RETAIN = 2,  /* published with the retain flag, outside the WIS2 trees */
	JOURNAL_UTF8 = 4,    /* payload format indicator 1 */
	JOURNAL_HIDDEN = 8,  /* a copy of a retained message, for those who ask for it by its place,
	                      * or one of the shared log that had expired when it came; no
	                      * subscription, replay, figure or summary sees it */
};

/* A message to append; everything is borrowed. */
struct journal_message {
	struct view topic; /* 1-65535 bytes, valid */
	struct view payload;
	struct view properties; /* MQTT 5 properties to forward, without their length, or empty */
	struct uuid id;
	uint64_t log_id;    /* place in the shared log; 0 on one machine */
	uint32_t expiry_s;  /* message expiry interval; 0: none */
	uint16_t publisher; /* number of source or account */
	uint8_t shard;
	uint8_t flags;   /* enum journal_flags */
	uint8_t qos;     /* as published: what is delivered is at most this */
	uint32_t origin; /* publisher's number of the publishing session, at most
	                             * JOURNAL_ORIGIN_MOST; 0: none */
};

/* The lock orders claims and appends; hold it for one batch. */
void journal_lock(struct journal *j);
void journal_unlock(struct journal *j);

/* With the lock: is there room for this many bytes (topic + payload + properties + 16 each) in
 * this many records, in one segment or its successor? 0, ERR_HELD (disk full, or the next segment
 * is not there yet; on_progress follows) or ERR_TOO_LARGE (never: see journal_batch_bytes()). What
 * is reserved is used by the next journal_append() under the same lock. */
int journal_reserve(struct journal *j, uint64_t bytes, uint32_t records);

/* The most bytes and records that one reserve may ask for: what an empty segment takes. Constant
 * after open. A caller with more makes two batches. */
uint64_t journal_batch_bytes(const struct journal *j);
uint32_t journal_batch_records(const struct journal *j);

/* With the lock, after a reserve that covers it: appends in order and moves the tail once, at the
 * end. 0, or ERR_HELD / ERR_SYSTEM with nothing appended. Does not wake anybody. */
int journal_append(struct journal *j, const struct journal_message *const *messages, uint32_t n);

/* Called from the keeper thread when space is there again after ERR_HELD, and (sync always) when
 * journal_synced() has moved. Set before the first append; must be quick (it wakes loops). */
void journal_on_progress(struct journal *j, void (*call)(void *context), void *context);
/* sync always: asks the keeper to sync soon. Any thread. */
void journal_want_sync(struct journal *j);

/* Records below seq are not needed any more, whatever their age: their packets go, segment by
 * segment, once sealed. Any thread. */
void journal_release(struct journal *j, uint64_t seq);

/* Sequence number behind the last record; sequentially consistent. Any thread. */
uint64_t journal_tail(const struct journal *j);
/* Oldest record whose packet is still there. Any thread. */
uint64_t journal_head(const struct journal *j);
/* Records below this are safe in the sense of `sync`. Any thread. */
uint64_t journal_safe(const struct journal *j);

/* --- reading ---------------------------------------------------------- */

struct journal_entry {
	uint32_t offset;         /* of the packet in the packets file */
	uint32_t packet_bytes;   /* fixed header, topic, payload */
	uint32_t property_bytes; /* behind the packet */
	uint32_t topic;          /* number within the segment, 0, 1, 2 ... by first occurrence */
	uint64_t time_ms;        /* journal_now() at append; ages and replay */
	struct uuid id;
	uint64_t log_id;
	uint32_t expiry_s;
	uint16_t publisher;
	uint8_t header_bytes; /* of the fixed header: topic length field follows */
	uint8_t flags;        /* enum journal_flags in the low 6 bits, QoS in the upper 2 */
	uint8_t shard;
	uint8_t origin[3]; /* low byte first */
	uint32_t checksum;
};
_Static_assert(sizeof(struct journal_entry) == 64, "index entries are 64 bytes");

static inline uint8_t journal_entry_qos(const struct journal_entry *e)
{
	return e->flags >> 6;
}

#define JOURNAL_ORIGIN_MOST 0xffffffu

static inline uint32_t journal_entry_origin(const struct journal_entry *e)
{
	return (uint32_t)e->origin[0] | (uint32_t)e->origin[1] << 8 | (uint32_t)e->origin[2] << 16;
}

/* One segment as readers see it. `number` grows by one per segment: topic numbers are valid within
 * one. count: read journal_tail() first and then journal_find(); for a newer tail, find again, as
 * a segment found open stays "open" in this view although it may have been closed since. */
struct journal_segment {
	uint64_t base; /* seq of entries[0] */
	uint64_t end;  /* seq behind the last; UINT64_MAX for the open one */
	uint32_t number;
	const struct journal_entry *entries; /* map of the index, behind its head */
	const uint8_t *packets;              /* map of the packets */
};

/* A registered reader: between two quiet points every segment found stays mapped. */
struct journal_reader {
	struct list link;
	_Atomic uint64_t epoch; /* 0: quiet */
	struct journal *journal;
};
void journal_reader_open(struct journal *j, struct journal_reader *r);
void journal_reader_close(struct journal_reader *r);
/* Brackets of a turn. Nothing found before enter may be used after leave. No lock. */
void journal_reader_enter(struct journal_reader *r);
void journal_reader_leave(struct journal_reader *r);

/* The segment that holds seq, or NULL when seq is below journal_head() or at/above the tail.
 * Between enter and leave. */
const struct journal_segment *journal_find(const struct journal *j, uint64_t seq);

/* First seq with time_ms >= since (between head and tail). Between enter and leave. */
uint64_t journal_seq_at(const struct journal *j, uint64_t since_ms);

/* Packets of [from, this) are in memory, appended lately or prefetched: `from` when not even the first
 * is, UINT64_MAX when all behind it are. */
uint64_t journal_warm_to(const struct journal *j, uint64_t from);
/* Is the packet at seq in memory? */
static inline bool journal_is_warm(const struct journal *j, uint64_t seq)
{
	return journal_warm_to(j, seq) > seq;
}
/* Brings packets from seq on (some MiB) into memory off the workers and then calls on_warm on
 * the prefetch thread (it posts to a loop). The ticket is the caller's memory, one question at a
 * time. */
struct journal_prefetch {
	struct list link;
	uint64_t from;
	uint64_t warm_to; /* set before on_warm: records below this may be read */
	void (*on_warm)(struct journal_prefetch *p);
};
void journal_prefetch(struct journal *j, struct journal_prefetch *p);
/* True: withdrawn, on_warm will not be called. False: it is being or has been called. */
bool journal_prefetch_cancel(struct journal *j, struct journal_prefetch *p);

/* --- what was removed, figures ---------------------------------------- */

/* Walks (topic, count) of records in [from, head) whose packets were removed but whose segments'
 * summaries are kept: for each topic with the number of records. Of a partly covered segment the index
 * tells what stood before `from`; where it is gone too, the whole counts are given and *exact is false.
 * Any thread; may read files: not on a worker. */
void journal_removed(struct journal *j, uint64_t from,
	void (*on_topic)(void *context, struct view topic, uint64_t count), void *context,
	bool *exact);

struct journal_figures {
	uint64_t bytes; /* of packets files on disk */
	uint64_t index_bytes;
	uint64_t oldest_ms; /* age of the oldest record with its packet */
	uint64_t newest_ms; /* age of the newest record; UINT64_MAX when empty */
	uint64_t appended;  /* records since open */
	uint64_t appended_bytes;
	uint64_t syncs;
	uint64_t sync_ns; /* total time in fdatasync */
	uint64_t held_ms; /* total time appends were refused */
	bool held;
	bool failed; /* a write or sync failed: see the log; readiness is lost */
	uint32_t segments;
	uint64_t disk_bytes; /* of the file system it is on, and what of it may still be written; as
	                      * of the last second, 0 while it cannot be asked */
	uint64_t disk_free_bytes;
};
void journal_figures(const struct journal *j, struct journal_figures *out);

#endif
