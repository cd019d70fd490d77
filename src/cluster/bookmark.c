/* cluster/bookmark.c - two slots, written in turn */
#include "cluster/bookmark.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <xxhash.h>

#include "base/error.h"
#include "base/file.h"
#include "base/mem.h"

#define FILE_NAME "bookmark"
#define MAGIC "isobarBM"

struct head {
	char magic[8];
	uint64_t checksum; /* of all that stands behind it */
	uint64_t generation;
	uint64_t seq;
	uint64_t count;
};

#define CHECKED offsetof(struct head, generation)

_Static_assert(sizeof(struct bookmark_row) == 56, "rows have no padding");
_Static_assert(sizeof(struct head) + SHARDS_MOST * sizeof(struct bookmark_row) <= BOOKMARK_SLOT,
	"all rows fit in a slot");

void bookmark_encode(struct buf *b, const struct bookmark *m)
{
	struct head head = {.generation = m->generation, .seq = m->seq, .count = m->count};
	size_t at = buf_length(b);
	uint8_t *p;

	buf_append(b, &head, sizeof(head));
	buf_append(b, m->rows, m->count * sizeof(m->rows[0]));
	p = b->data + b->start + at;
	memcpy(head.magic, MAGIC, sizeof(head.magic));
	head.checksum = XXH3_64bits(p + CHECKED, buf_length(b) - at - CHECKED);
	memcpy(p, &head, sizeof(head));
}

int bookmark_decode(struct view slot, struct bookmark *out)
{
	struct head head;
	size_t rows;

	if (slot.n < sizeof(head))
		return ERR_MALFORMED;
	memcpy(&head, slot.p, sizeof(head));
	if (memcmp(head.magic, MAGIC, sizeof(head.magic)) != 0 || head.count > SHARDS_MOST)
		return ERR_MALFORMED;
	rows = head.count * sizeof(struct bookmark_row);
	if (slot.n < sizeof(head) + rows ||
		head.checksum != XXH3_64bits(slot.p + CHECKED, sizeof(head) + rows - CHECKED))
		return ERR_MALFORMED;
	out->generation = head.generation;
	out->seq = head.seq;
	out->count = (uint32_t)head.count;
	memcpy(out->rows, slot.p + sizeof(head), rows);
	return 0;
}

/* --- the file ------------------------------------------------------------------ */

static bool read_slot(int fd, unsigned slot, struct bookmark *out)
{
	char *bytes = mem_new(BOOKMARK_SLOT);
	ssize_t n = pread(fd, bytes, BOOKMARK_SLOT, (off_t)slot * BOOKMARK_SLOT);
	bool holds = n > 0 && bookmark_decode((struct view){bytes, (size_t)n}, out) == 0;

	free(bytes);
	return holds;
}

bool bookmark_open(const char *dir, int *fd, struct bookmark *out)
{
	char *path = mem_printf("%s/" FILE_NAME, dir);
	struct bookmark *other = mem_new(sizeof(*other));
	bool found = false;

	*fd = file_make_folder(dir) == 0 ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640) : -1;
	if (*fd >= 0) {
		found = read_slot(*fd, 0, out);
		if (read_slot(*fd, 1, other) && (!found || other->generation > out->generation)) {
			*out = *other;
			found = true;
		}
	}
	free(other);
	free(path);
	return found;
}

int bookmark_write(int fd, struct bookmark *m)
{
	struct buf b = {0};
	ssize_t n;

	m->generation++;
	bookmark_encode(&b, m);
	n = pwrite(fd, buf_bytes(&b), buf_length(&b), (off_t)(m->generation % 2 * BOOKMARK_SLOT));
	n = n == (ssize_t)buf_length(&b) ? 0 : ERR_SYSTEM;
	buf_fini(&b);
	return (int)n;
}
