#include "broker/store_recent.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/error.h"
#include "base/mem.h"

#define BYTES_MOST (64u << 20)

struct entry_head {
	uint64_t checksum; /* of what follows, key and row included */
	uint64_t number;
	uint32_t key_bytes;
	uint32_t row_bytes; /* 0: removed */
};

int recent_open(struct store_recent *r, const char *dir)
{
	struct stat st;

	*r = (struct store_recent){.fds = {-1, -1}};
	for (int i = 0; i < 2; i++) {
		char *path = mem_printf("%s/recent.%d", dir, i);

		r->fds[i] = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
		free(path);
		if (r->fds[i] < 0 || fstat(r->fds[i], &st) != 0) {
			recent_close(r);
			return ERR_SYSTEM;
		}
		r->bytes[i] = (uint64_t)st.st_size;
	}
	return 0;
}

void recent_close(struct store_recent *r)
{
	for (int i = 0; i < 2; i++) {
		if (r->fds[i] >= 0)
			close(r->fds[i]);
		r->fds[i] = -1;
	}
}

static uint64_t checksum(const struct entry_head *head, struct view key, struct view row)
{
	struct {
		uint64_t number;
		uint64_t key;
		uint64_t row;
	} parts = {head->number, XXH3_64bits(key.p, key.n), row.n ? XXH3_64bits(row.p, row.n) : 0};

	return XXH3_64bits(&parts, sizeof(parts));
}

static void truncate_to(struct store_recent *r, unsigned i, uint64_t bytes)
{
	if (ftruncate(r->fds[i], (off_t)bytes) == 0)
		r->bytes[i] = bytes;
}

void recent_add(struct store_recent *r, uint64_t number, struct view key, struct view row)
{
	unsigned i = r->current;
	struct entry_head head = {0, number, (uint32_t)key.n, (uint32_t)row.n};
	struct iovec parts[] = {
		{&head, sizeof(head)}, {(void *)key.p, key.n}, {(void *)row.p, row.n}};
	uint64_t bytes = sizeof(head) + key.n + row.n;
	ssize_t n;

	if (r->bytes[i] + bytes > BYTES_MOST)
		return;
	head.checksum = checksum(&head, key, row);
	n = writev(r->fds[i], parts, 3);
	if (n == (ssize_t)bytes)
		r->bytes[i] += bytes;
	else if (n > 0) /* half an entry would hide those behind it */
		truncate_to(r, i, r->bytes[i]);
}

void recent_turn(struct store_recent *r)
{
	r->current = !r->current;
}

void recent_done(struct store_recent *r)
{
	if (r->bytes[!r->current])
		truncate_to(r, !r->current, 0);
}

void recent_clear(struct store_recent *r)
{
	truncate_to(r, 0, 0);
	truncate_to(r, 1, 0);
}

void recent_read(const struct store_recent *r, struct buf files[2])
{
	for (int i = 0; i < 2; i++) {
		struct buf *b = &files[i];
		size_t size = r->bytes[i] < BYTES_MOST ? r->bytes[i] : BYTES_MOST;

		while (b->end < size) {
			ssize_t n = pread(
				r->fds[i], buf_reserve(b, size - b->end), size - b->end, b->end);

			if (n < 0 && errno == EINTR)
				continue;
			if (n <= 0)
				break;
			buf_grown(b, (size_t)n);
		}
	}
}

/* The entry at the front; false: none that is whole. */
static bool look(struct view file, struct recent_entry *out, size_t *bytes)
{
	struct entry_head head;

	if (file.n < sizeof(head))
		return false;
	memcpy(&head, file.p, sizeof(head));
	*bytes = sizeof(head) + (size_t)head.key_bytes + head.row_bytes;
	if (head.key_bytes == 0 || *bytes > file.n)
		return false;
	out->number = head.number;
	out->key = (struct view){file.p + sizeof(head), head.key_bytes};
	out->row = (struct view){out->key.p + head.key_bytes, head.row_bytes};
	if (head.checksum != checksum(&head, out->key, out->row))
		return false;
	if (head.row_bytes == 0)
		out->row.p = NULL;
	return true;
}

bool recent_next(struct view files[2], struct recent_entry *out)
{
	struct recent_entry found[2];
	size_t bytes[2];
	bool is_there[2];
	int i;

	for (i = 0; i < 2; i++)
		is_there[i] = look(files[i], &found[i], &bytes[i]);
	if (!is_there[0] && !is_there[1])
		return false;
	i = !is_there[0] || (is_there[1] && found[1].number < found[0].number);
	*out = found[i];
	files[i] = view_skip(files[i], bytes[i]);
	return true;
}
