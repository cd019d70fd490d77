/* cli/tar.h - heads of the members of a tar archive (POSIX ustar), to bytes and back
 *
 * Only what `isobar export` needs: regular files, names of at most 255 bytes, sizes of any kind
 * (octal, and in base 256 from 8 GiB on, as GNU tar writes it). tar(1), bsdtar and Python read it.
 *
 *     head 512 | content, filled up to 512 | head | content | ... | 1024 bytes of zeros
 *
 * Pure. Threads: any. Source: POSIX.1-2017, pax, "ustar Interchange Format".
 */
#ifndef CLI_TAR_H
#define CLI_TAR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/view.h"

#define TAR_BLOCK 512u
#define TAR_NAME_BYTES 256u
#define TAR_PERSON_BYTES 32u

struct tar_member {
	char name[TAR_NAME_BYTES];    /* "a/b/c", never empty, '/'-separated */
	char owner[TAR_PERSON_BYTES]; /* names, may be empty */
	char group[TAR_PERSON_BYTES];
	uint64_t size;
	uint64_t time_s; /* of its last change */
	uint32_t mode;   /* permission bits */
};

/* Fills the block. False: the name does not fit (255 bytes in all, the last part at most 100). */
bool tar_encode(const struct tar_member *m, uint8_t block[TAR_BLOCK]);

/* 1: *m is filled in; 0: a block of zeros, where an archive ends; ERR_CORRUPT: not a head of a regular
 * file as tar_encode() writes them. */
int tar_decode(const uint8_t block[TAR_BLOCK], struct tar_member *m);

/* Bytes behind a content of so many, up to the next block. */
static inline uint32_t tar_padding(uint64_t size)
{
	return (uint32_t)(TAR_BLOCK - 1 - (size + TAR_BLOCK - 1) % TAR_BLOCK);
}

/* A name that stays below the folder it is put in: parts of letters, digits and "._-+@=,~", none empty or
 * beginning with "..", at most TAR_DEPTH of them. */
#define TAR_DEPTH 8u
bool tar_name_is_safe(struct view name);

#endif
