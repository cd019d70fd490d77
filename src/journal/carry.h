/* journal/carry.h - the files of a journal, to be copied while it may be appended to
 *
 * What is handed out, file by file, makes a folder that journal_open() takes: a beginning of the
 * journal as it stood at some moment during the call. A sealed segment is its files as they are. One
 * still open is cut behind its last entry; packets are written before entries, so whoever copies the
 * entries first has every packet they speak of. Segments removed meanwhile are the oldest, and left out.
 *
 * Sequence numbers stay what they are: a position means the same record in the copy.
 *
 * Threads: any that may wait for the disk; needs no journal to be open.
 */
#ifndef JOURNAL_CARRY_H
#define JOURNAL_CARRY_H

#include <stdint.h>

struct carry_rules {
	/* Packets of sealed segments whose newest record is older than this are left out, their index,
	 * and so their identities, never. 0: none are left out; UINT64_MAX: all are. */
	uint64_t since_ms;
	/* One file: the first `bytes` of fd are to be copied under this name. 0 goes on; anything else
	 * ends the call, which gives it. */
	int (*on_file)(void *context, const char *name, int fd, uint64_t bytes);
	void *context;
};

struct carry_figures {
	uint64_t head;       /* oldest record whose packet is handed out */
	uint64_t tail;       /* behind the newest */
	uint64_t identities; /* records whose index entry is */
	uint32_t segments;
	uint32_t damaged; /* left out, as their head does not hold */
};

/* 0; ERR_VERSION: a segment of a newer format; ERR_SYSTEM (errno), or what on_file gave. */
int journal_carry(const char *dir, const struct carry_rules *rules, struct carry_figures *out);

#endif
