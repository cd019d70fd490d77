/* cli/backup.h - the file that `isobar export` writes and `isobar import` reads
 *
 * A tar archive with everything below one folder, and a checksum of each member at its end:
 *
 *     isobar-export/manifest.yaml               what this is, first
 *     isobar-export/configuration/isobar.yaml   plain files
 *     isobar-export/data/journal/0000000042.packets
 *     ...
 *     isobar-export/SHA256SUMS                  last, as sha256sum(1) -c reads it
 *
 * Both ways are streams: memory is a buffer and a line for each member, whatever the archive's size. An
 * archive without its last member is not complete and is refused.
 *
 * Threads: one.
 */
#ifndef CLI_BACKUP_H
#define CLI_BACKUP_H

#include <openssl/evp.h>

#include "base/buf.h"
#include "cli/tar.h"

#define BACKUP_FORMAT 1
#define BACKUP_TOP "isobar-export/"
#define BACKUP_MEMBERS_MOST 200000u

/* --- writing ---------------------------------------------------------- */

struct backup_out {
	int fd;
	struct buf sums;
	uint32_t members;
	uint64_t bytes; /* written, in all */
};

/* fd stays the caller's. */
void backup_out_init(struct backup_out *a, int fd);
void backup_out_fini(struct backup_out *a);

/* One member; its name is below BACKUP_TOP. 0, ERR_TOPIC (the name does not fit: nothing was written) or
 * ERR_SYSTEM (errno). */
int backup_put(struct backup_out *a, const struct tar_member *m, struct view content);

/* The first m->size bytes of the file. ERR_CORRUPT: it became shorter meanwhile, and the archive is of
 * no use; *is_read tells whose ERR_SYSTEM it is. */
int backup_put_file(struct backup_out *a, const struct tar_member *m, int file, bool *is_read);

/* The sums and the end. */
int backup_finish(struct backup_out *a);

/* --- reading ---------------------------------------------------------- */

struct backup_in {
	int fd;
	struct buf sums; /* of what was read */
	uint32_t members;
	struct tar_member member; /* at hand */
	uint64_t left;            /* of its content */
	EVP_MD_CTX *sum;
	char *why; /* owned: what is wrong with it */
};

/* fd stays the caller's. */
void backup_in_init(struct backup_in *a, int fd);
void backup_in_fini(struct backup_in *a);

/* 1: a->member is the next one, its name safe (tar_name_is_safe()) and without BACKUP_TOP; what was
 * not read of the one before is read past. 0: the archive ended as it should, and every sum is right.
 * ERR_CORRUPT, ERR_SYSTEM (errno): a->why. */
int backup_next(struct backup_in *a);

/* Content of the member, at most n bytes; 0: no more. Negative as above. */
int64_t backup_read(struct backup_in *a, void *out, size_t n);

#endif
