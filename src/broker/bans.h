/* broker/bans.h - who is refused whatever he knows: client identifiers and blocks of addresses
 *
 * A ban lasts until it is taken back, over restarts: it stands in a file, one JSON object a line, which is
 * written before the ban counts. At most BANS_MOST.
 *
 * Threads: bans_has() any (a short lock, and none while nobody is banned); the rest one, which may wait for
 * the disk.
 */
#ifndef BROKER_BANS_H
#define BROKER_BANS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "net/address.h"

#define BANS_MOST 4096u
#define BAN_TEXT_BYTES 1024u /* of each text of a ban */

enum ban_kind { BAN_CLIENT_ID, BAN_ADDRESS };

struct ban {
	enum ban_kind kind;
	char *what;        /* client identifier, "192.0.2.0/24" */
	char *by;          /* who banned */
	char *why;         /* "" when he did not say */
	uint64_t since_ms; /* wall clock */
	struct address_block block;
};

struct bans;

/* path NULL: in memory only. NULL: the file cannot be read or is not sound; *why (to free) says where. */
struct bans *bans_open(const char *path, char **why);
void bans_free(struct bans *b);

/* Copies the texts of *ban; one of the same kind and text takes the place of the one before. 0; ERR_CONFIG:
 * no such block, or a text too long, empty or not UTF-8; ERR_FULL; ERR_SYSTEM: it could not be written
 * (errno), and nothing has changed. */
int bans_add(struct bans *b, const struct ban *ban);
/* 0, ERR_NOT_FOUND, or ERR_SYSTEM as above. */
int bans_remove(struct bans *b, enum ban_kind kind, const char *what);
void bans_each(struct bans *b, void (*each)(void *context, const struct ban *ban), void *context);

/* client_id {NULL,0}: the address only. */
bool bans_has(struct bans *b, const struct address *peer, struct view client_id);

/* One as a JSON object, as it stands in the file and is shown to operators. */
void ban_write(const struct ban *ban, struct buf *out);
/* The reverse; false: it is none. to ban_fini() when true. */
bool ban_read(struct view line, struct ban *out);
void ban_fini(struct ban *ban);

#endif
