#include "cli/tar.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"

#define LAST_PART_BYTES 100u
#define FIRST_PARTS_BYTES 155u
#define OCTAL_MOST ((UINT64_C(1) << 33) - 1)
#define REGULAR '0'

/* The head as POSIX lays it out. */
struct head {
	char name[LAST_PART_BYTES];
	char mode[8];
	char uid[8];
	char gid[8];
	char size[12];
	char time[12];
	char checksum[8];
	char type;
	char link[100];
	char magic[6];
	char version[2];
	char owner[TAR_PERSON_BYTES];
	char group[TAR_PERSON_BYTES];
	char major[8];
	char minor[8];
	char prefix[FIRST_PARTS_BYTES];
	char rest[12];
};
_Static_assert(sizeof(struct head) == TAR_BLOCK, "a head is one block");

/* Digits and a NUL in n bytes; the number fits. */
static void put_octal(char *out, size_t n, uint64_t number)
{
	for (size_t i = n - 1; i-- > 0; number >>= 3)
		out[i] = (char)('0' + (number & 7));
	out[n - 1] = '\0';
}

static void put_size(char out[12], uint64_t size)
{
	if (size <= OCTAL_MOST) {
		put_octal(out, 12, size);
		return;
	}
	memset(out, 0, 12);
	out[0] = (char)0x80;
	for (size_t i = 11; i >= 4; i--, size >>= 8)
		out[i] = (char)(size & 0xff);
}

static bool take_octal(const char *p, size_t n, uint64_t *number)
{
	size_t i = 0;

	*number = 0;
	for (; i < n && p[i] >= '0' && p[i] <= '7'; i++)
		*number = *number << 3 | (uint64_t)(p[i] - '0');
	return i > 0 && i < n && (p[i] == '\0' || p[i] == ' ');
}

static bool take_size(const char p[12], uint64_t *size)
{
	if ((uint8_t)p[0] != 0x80)
		return take_octal(p, 12, size);
	*size = 0;
	for (size_t i = 4; i < 12; i++)
		*size = *size << 8 | (uint8_t)p[i];
	return p[1] == 0 && p[2] == 0 && p[3] == 0 && *size < UINT64_C(1) << 62;
}

/* The sum of all bytes, its own counted as blanks. */
static uint64_t checksum_of(const struct head *h)
{
	const uint8_t *bytes = (const uint8_t *)h;
	uint64_t sum = sizeof(h->checksum) * ' ';

	for (size_t i = 0; i < sizeof(*h); i++) {
		if (i < offsetof(struct head, checksum) || i >= offsetof(struct head, type))
			sum += bytes[i];
	}
	return sum;
}

/* A name too long for its field is parted at a slash. */
static bool put_name(struct head *h, const char *name)
{
	size_t n = strlen(name);
	const char *cut = n > LAST_PART_BYTES ? strchr(name + n - LAST_PART_BYTES - 1, '/') : NULL;
	size_t first = cut ? (size_t)(cut - name) : 0;

	if (n <= LAST_PART_BYTES) {
		memcpy(h->name, name, n);
		return n > 0;
	}
	if (cut == NULL || first == 0 || first > FIRST_PARTS_BYTES || cut[1] == '\0')
		return false;
	memcpy(h->prefix, name, first);
	memcpy(h->name, cut + 1, n - first - 1);
	return true;
}

bool tar_encode(const struct tar_member *m, uint8_t block[TAR_BLOCK])
{
	struct head h = {.type = REGULAR, .magic = "ustar", .version = {'0', '0'}};

	if (!put_name(&h, m->name))
		return false;
	put_octal(h.mode, sizeof(h.mode), m->mode & 07777);
	put_octal(h.uid, sizeof(h.uid), 0);
	put_octal(h.gid, sizeof(h.gid), 0);
	put_size(h.size, m->size);
	put_octal(h.time, sizeof(h.time), m->time_s & OCTAL_MOST);
	snprintf(h.owner, sizeof(h.owner), "%s", m->owner);
	snprintf(h.group, sizeof(h.group), "%s", m->group);
	put_octal(h.checksum, sizeof(h.checksum) - 1, checksum_of(&h));
	h.checksum[7] = ' ';
	memcpy(block, &h, sizeof(h));
	return true;
}

static bool take_name(const struct head *h, char out[TAR_NAME_BYTES])
{
	int first = (int)strnlen(h->prefix, sizeof(h->prefix));
	int last = (int)strnlen(h->name, sizeof(h->name));
	int n = snprintf(out, TAR_NAME_BYTES, "%.*s%s%.*s", first, h->prefix, first ? "/" : "",
		last, h->name);

	return last > 0 && n < (int)TAR_NAME_BYTES;
}

static void take_person(char out[TAR_PERSON_BYTES], const char *field)
{
	snprintf(out, TAR_PERSON_BYTES, "%.*s", (int)strnlen(field, TAR_PERSON_BYTES), field);
}

static bool is_zero(const uint8_t block[TAR_BLOCK])
{
	static const uint8_t zeros[TAR_BLOCK];

	return memcmp(block, zeros, TAR_BLOCK) == 0;
}

int tar_decode(const uint8_t block[TAR_BLOCK], struct tar_member *m)
{
	struct tar_member made = {.size = 0};
	struct head h;
	uint64_t mode, sum;

	if (is_zero(block))
		return 0;
	memcpy(&h, block, sizeof(h));
	if (memcmp(h.magic, "ustar", 6) != 0 || h.type != REGULAR ||
		!take_octal(h.checksum, sizeof(h.checksum), &sum) || sum != checksum_of(&h))
		return ERR_CORRUPT;
	if (!take_octal(h.mode, sizeof(h.mode), &mode) || !take_size(h.size, &made.size) ||
		!take_octal(h.time, sizeof(h.time), &made.time_s) || !take_name(&h, made.name))
		return ERR_CORRUPT;
	made.mode = (uint32_t)mode & 07777;
	take_person(made.owner, h.owner);
	take_person(made.group, h.group);
	*m = made;
	return 1;
}

static bool is_safe_part(struct view part)
{
	static const char marks[] = "._-+@=,~";

	if (part.n == 0 || (part.p[0] == '.' && (part.n == 1 || part.p[1] == '.')))
		return false;
	for (size_t i = 0; i < part.n; i++) {
		char c = part.p[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			    (c != '\0' && strchr(marks, c))))
			return false;
	}
	return true;
}

bool tar_name_is_safe(struct view name)
{
	uint32_t depth = 0;

	if (name.n == 0 || name.n >= TAR_NAME_BYTES || name.p[name.n - 1] == '/')
		return false;
	while (name.n) {
		if (!is_safe_part(view_cut(&name, '/')) || ++depth > TAR_DEPTH)
			return false;
	}
	return true;
}
