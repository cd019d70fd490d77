#include "journal/segment.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/error.h"
#include "base/map.h"
#include "base/mem.h"
#include "journal/guard.h"

#define NUMBER_DIGITS 10
#define HEAD_MAGIC UINT64_C(0x314c4e4a42534900)
#define SEAL_MAGIC UINT64_C(0x4c4145534a425349)

_Static_assert(sizeof(struct segment_head) <= SEGMENT_SEAL_AT, "head and seal do not overlap");

void segment_name(char out[SEGMENT_NAME_BYTES], uint32_t number, const char *kind)
{
	snprintf(out, SEGMENT_NAME_BYTES, "%0*u.%s", NUMBER_DIGITS, number, kind);
}

int segment_each_file(
	int dir, void (*on_file)(void *context, uint32_t number, const char *kind), void *context)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *folder = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (folder == NULL) {
		if (fd >= 0)
			close(fd);
		return ERR_SYSTEM;
	}
	while ((entry = readdir(folder)) != NULL) {
		const char *name = entry->d_name;
		unsigned long number;
		char *kind;

		if (strspn(name, "0123456789") != NUMBER_DIGITS || name[NUMBER_DIGITS] != '.')
			continue;
		number = strtoul(name, &kind, 10);
		if (number <= UINT32_MAX / 2)
			on_file(context, (uint32_t)number, kind);
	}
	closedir(folder);
	return 0;
}

struct segment *segment_new(uint32_t number)
{
	struct segment *s = mem_new(sizeof(*s));

	list_init(&s->link);
	s->number = number;
	s->packets_fd = s->index_fd = -1;
	s->end = SEGMENT_OPEN;
	return s;
}

void segment_close_files(struct segment *s)
{
	if (s->packets_fd >= 0)
		close(s->packets_fd);
	if (s->index_fd >= 0)
		close(s->index_fd);
	s->packets_fd = s->index_fd = -1;
}

void segment_free(struct segment *s)
{
	segment_close_files(s);
	guard_unmap(s->packets, s->packets_map);
	guard_unmap(s->index, s->index_map);
	free(s);
}

static int open_file(int dir, uint32_t number, const char *kind, int flags)
{
	char name[SEGMENT_NAME_BYTES];

	segment_name(name, number, kind);
	return openat(dir, name, flags | O_CLOEXEC, 0640);
}

static void remove_files(const struct segment *s, int dir)
{
	char name[SEGMENT_NAME_BYTES];

	segment_name(name, s->number, "packets");
	unlinkat(dir, name, 0);
	segment_name(name, s->number, "index");
	unlinkat(dir, name, 0);
}

static int create_files(struct segment *s, int dir, const struct journal_system *sys)
{
	s->index_map = SEGMENT_HEAD_BYTES + (size_t)s->capacity * sizeof(struct journal_entry);
	s->packets_map = s->packets_size;
	s->index_fd = open_file(dir, s->number, "index", O_RDWR | O_CREAT | O_TRUNC);
	s->packets_fd = open_file(dir, s->number, "packets", O_RDWR | O_CREAT | O_TRUNC);
	if (s->index_fd < 0 || s->packets_fd < 0)
		return system_error();
	if (sys->reserve(s->index_fd, (off_t)s->index_map) != 0 ||
		sys->reserve(s->packets_fd, (off_t)s->packets_map) != 0)
		return system_error();
	s->index = guard_map(s->index_fd, s->index_map, dir, s->number, "index");
	s->packets = guard_map(s->packets_fd, s->packets_map, dir, s->number, "packets");
	if (s->index == NULL || s->packets == NULL)
		return ERR_SYSTEM;
	/* The sizes and the names must outlive a power cut before a record is called safe. */
	if (sys->fdatasync(s->index_fd) != 0 || sys->fdatasync(s->packets_fd) != 0 ||
		fsync(dir) != 0)
		return system_error();
	return 0;
}

int segment_create(struct segment *s, int dir, const struct journal_system *sys)
{
	int err = create_files(s, dir, sys);
	int saved = errno;

	s->has_packets = s->has_index = err == 0;
	if (err)
		remove_files(s, dir);
	errno = saved;
	return err;
}

/* Maps what the file holds now; an empty file has no map. */
static int map_file(
	const struct segment *s, int fd, int dir, const char *kind, uint8_t **map, size_t *size)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return ERR_SYSTEM;
	if (st.st_size == 0)
		return 0;
	*map = guard_map(fd, (size_t)st.st_size, dir, s->number, kind);
	*size = *map ? (size_t)st.st_size : 0;
	return *map ? 0 : ERR_SYSTEM;
}

int segment_open(struct segment *s, int dir)
{
	int err;

	s->index_fd = open_file(dir, s->number, "index", O_RDWR);
	if (s->index_fd < 0)
		return ERR_SYSTEM;
	err = map_file(s, s->index_fd, dir, "index", &s->index, &s->index_map);
	if (err || !s->has_packets)
		return err;
	s->packets_fd = open_file(dir, s->number, "packets", O_RDWR);
	if (s->packets_fd < 0)
		return ERR_SYSTEM;
	return map_file(s, s->packets_fd, dir, "packets", &s->packets, &s->packets_map);
}

int segment_write_head(struct segment *s, const struct journal_system *sys, uint64_t now_ms)
{
	struct segment_head head = {
		.magic = HEAD_MAGIC,
		.format = JOURNAL_FORMAT,
		.number = s->number,
		.base = s->base,
		.seed = s->seed = map_seed(),
		.packets_size = s->packets_size,
		.capacity = s->capacity,
		.made_ms = now_ms,
	};

	head.checksum = XXH3_64bits(&head, offsetof(struct segment_head, checksum));
	s->first_ms = s->last_ms = now_ms;
	return system_write(sys, s->index_fd, &head, sizeof(head), 0);
}

static bool is_zero(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (p[i])
			return false;
	}
	return true;
}

static enum segment_state read_seal(struct segment *s, const uint8_t *page)
{
	struct segment_seal seal;

	memcpy(&seal, page + SEGMENT_SEAL_AT, sizeof(seal));
	if (seal.magic != SEAL_MAGIC || seal.seed != s->seed || seal.count > s->capacity ||
		seal.packets_bytes > s->packets_size ||
		seal.checksum != XXH3_64bits(&seal, offsetof(struct segment_seal, checksum)))
		return SEGMENT_UNSEALED;
	s->end = s->base + seal.count;
	s->packets_bytes = seal.packets_bytes;
	s->first_ms = seal.first_ms;
	s->last_ms = seal.last_ms;
	s->sealed = true;
	return SEGMENT_SEALED;
}

enum segment_state segment_read_head(struct segment *s)
{
	uint8_t page[SEGMENT_HEAD_BYTES];
	struct segment_head head;

	if (pread(s->index_fd, page, sizeof(page), 0) != (ssize_t)sizeof(page))
		return SEGMENT_DAMAGED;
	if (is_zero(page, sizeof(page)))
		return SEGMENT_UNUSED;
	memcpy(&head, page, sizeof(head));
	if (head.magic != HEAD_MAGIC ||
		head.checksum != XXH3_64bits(&head, offsetof(struct segment_head, checksum)))
		return SEGMENT_DAMAGED;
	if (head.format > JOURNAL_FORMAT)
		return SEGMENT_NEWER;
	if (head.number != s->number || head.base > UINT64_MAX / 2)
		return SEGMENT_DAMAGED;
	s->base = head.base;
	s->seed = head.seed;
	s->packets_size = head.packets_size;
	s->capacity = head.capacity;
	s->first_ms = s->last_ms = head.made_ms;
	return read_seal(s, page);
}

int segment_trim(struct segment *s, const struct journal_system *sys)
{
	uint64_t index_bytes =
		SEGMENT_HEAD_BYTES + (s->end - s->base) * sizeof(struct journal_entry);

	/* Readers' maps reach further, readers do not: they stay below the tail. */
	if (s->has_packets && (sys->truncate(s->packets_fd, (off_t)s->packets_bytes) != 0 ||
				      sys->fdatasync(s->packets_fd) != 0))
		return ERR_SYSTEM;
	if (sys->truncate(s->index_fd, (off_t)index_bytes) != 0 || sys->fdatasync(s->index_fd) != 0)
		return ERR_SYSTEM;
	return 0;
}

int segment_write_seal(struct segment *s, const struct journal_system *sys)
{
	struct segment_seal seal = {
		.magic = SEAL_MAGIC,
		.seed = s->seed,
		.count = s->end - s->base,
		.packets_bytes = s->packets_bytes,
		.first_ms = s->first_ms,
		.last_ms = s->last_ms,
	};
	int err;

	seal.checksum = XXH3_64bits(&seal, offsetof(struct segment_seal, checksum));
	err = system_write(sys, s->index_fd, &seal, sizeof(seal), SEGMENT_SEAL_AT);
	if (err)
		return err;
	return sys->fdatasync(s->index_fd) == 0 ? 0 : ERR_SYSTEM;
}

uint32_t segment_checksum(
	uint64_t seed, uint64_t seq, const struct journal_entry *e, const uint8_t *bytes)
{
	uint64_t hash =
		XXH3_64bits_withSeed(bytes, e->packet_bytes + e->property_bytes, seed ^ seq);

	return (uint32_t)XXH3_64bits_withSeed(e, offsetof(struct journal_entry, checksum), hash);
}
