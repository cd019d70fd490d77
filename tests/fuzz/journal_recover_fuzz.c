/* Whatever happens to the files of the last segment, opening neither crashes nor yields a record
 * that was not written. The input is a list of injuries of 8 bytes each:
 *
 *   kind (1): bits 0-1 file (packets, index, head of the index, summary of the one before),
 *             bits 2-4 what (flip, set, zero a run, truncate, copy a run, extend, swap with next)
 *   value (1), place (4), length (2)
 */
#include "journal/fixture.h"

#include <stdint.h>
#include <sys/mman.h>

#define PAYLOAD 300
#define RECORDS 50
#define FIRST 30
#define INJURIES_MOST 16

struct injury {
	uint8_t kind;
	uint8_t value;
	uint32_t place;
	uint16_t length;
};

/* Made once: a folder as a crash leaves it. */
struct template
{
	char *dir;
	char *work;
	struct journal_config config;
	uint32_t number;
};

static struct journal *must_open(const struct journal_config *config)
{
	struct journal *j = NULL;
	char *why = NULL;

	if (journal_open(&j, config, &why) != 0) {
		fprintf(stderr, "open: %s\n", why);
		free(why);
	}
	return j;
}

static void make(struct template *left)
{
	char *live = fixture_folder();
	struct journal_config config = fixture_config(live);
	struct journal *j;

	log_configure(LOG_ERROR + 1, false);
	config.segment_bytes = 16 << 10;
	j = must_open(&config);
	if (fixture_append_all(j, 0, FIRST, 4, PAYLOAD) != 0)
		abort();
	keeper_pass(j);
	journal_lock(j);
	roll(j);
	journal_unlock(j);
	keeper_pass(j);
	if (fixture_append_all(j, FIRST, RECORDS - FIRST, 3, PAYLOAD) != 0)
		abort();
	left->number = j->current->number;
	left->dir = fixture_folder();
	left->work = fixture_folder();
	left->config = config;
	left->config.dir = left->work;
	fixture_copy(live, left->dir);
	journal_close(j);
	fixture_remove(live);
}

static void swap(uint8_t *bytes, size_t size, const struct injury *i)
{
	for (size_t k = i->place % size; k + 64 < size && k < i->place % size + 64; k++) {
		uint8_t b = bytes[k];

		bytes[k] = bytes[k + 64];
		bytes[k + 64] = b;
	}
}

static void hurt_bytes(uint8_t *bytes, size_t size, const struct injury *i)
{
	size_t at = i->place % size;
	size_t n = i->length < size - at ? i->length : size - at;

	switch (i->kind >> 2 & 7) {
	case 0:
		bytes[at] ^= (uint8_t)(1u << (i->value & 7));
		break;
	case 1:
		bytes[at] = i->value;
		break;
	case 2:
		memset(bytes + at, 0, n);
		break;
	case 4:
		memmove(bytes + at, bytes + (i->value * 64u) % (size - n + 1), n);
		break;
	default:
		swap(bytes, size, i);
	}
}

static void hurt(const struct template *left, const struct injury *i)
{
	static const char *const kinds[] = {"packets", "index", "index", "topics"};
	unsigned which = i->kind & 3;
	char name[SEGMENT_NAME_BYTES];
	struct stat st;
	char *path;
	void *map;
	int fd;

	segment_name(name, which == 3 ? left->number - 1 : left->number, kinds[which]);
	path = mem_printf("%s/%s", left->work, name);
	fd = open(path, O_RDWR);
	free(path);
	if (fd < 0 || fstat(fd, &st) != 0 || st.st_size == 0) {
		if (fd >= 0)
			close(fd);
		return;
	}
	if (which == 2 && st.st_size > (off_t)sizeof(struct segment_head))
		st.st_size = sizeof(struct segment_head);
	if ((i->kind >> 2 & 7) == 3) {
		if (ftruncate(fd, i->place % (st.st_size + 1)) != 0)
			abort();
	} else {
		map = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		hurt_bytes(map, (size_t)st.st_size, i);
		munmap(map, (size_t)st.st_size);
	}
	close(fd);
}

/* Opens what is left, compares every record, appends, opens again. */
static void judge(const struct template *left)
{
	struct journal *j = must_open(&left->config);
	uint64_t head;
	uint64_t tail;

	if (j == NULL) /* only a format number may be refused */
		return;
	head = journal_head(j);
	tail = journal_tail(j);
	if (tail < FIRST || tail > RECORDS || fixture_check(j, head, tail, PAYLOAD) != tail ||
		fixture_append_all(j, tail, 3, 2, PAYLOAD) != 0)
		abort();
	journal_close(j);
	j = must_open(&left->config);
	if (j == NULL || journal_tail(j) != tail + 3 ||
		fixture_check(j, head, tail + 3, PAYLOAD) != tail + 3)
		abort();
	journal_close(j);
}

/* The fuzzer's interface has no context and no end, so this lives until exit. */
static struct template t;

static void clean_up(void)
{
	fixture_remove(t.dir);
	fixture_remove(t.work);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (t.dir == NULL) {
		make(&t);
		atexit(clean_up);
	}
	fixture_clear(t.work);
	fixture_copy(t.dir, t.work);
	for (size_t n = 0; n < INJURIES_MOST && size >= 8; n++, data += 8, size -= 8) {
		struct injury i = {.kind = data[0], .value = data[1]};

		memcpy(&i.place, data + 2, sizeof(i.place));
		memcpy(&i.length, data + 6, sizeof(i.length));
		hurt(&t, &i);
	}
	judge(&t);
	return 0;
}
