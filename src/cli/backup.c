#include "cli/backup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/error.h"
#include "base/mem.h"

#define PIECE (256u << 10)
#define SUMS_NAME BACKUP_TOP "SHA256SUMS"
#define SUM_BYTES 32u
#define NO_BACKUP "it is no archive of isobar export"
#define SUM_LINE_BYTES (2 * SUM_BYTES + TAR_NAME_BYTES + 3)

/* "<hex>  <name>\n", as sha256sum(1) has it. */
static void add_sum(struct buf *sums, EVP_MD_CTX *sum, const char *name)
{
	unsigned char bytes[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	check(EVP_DigestFinal_ex(sum, bytes, &n) == 1);
	for (unsigned i = 0; i < n; i++)
		buf_printf(sums, "%02x", bytes[i]);
	buf_printf(sums, "  %s\n", name);
}

static EVP_MD_CTX *begin_sum(void)
{
	EVP_MD_CTX *sum = EVP_MD_CTX_new();

	check(sum && EVP_DigestInit_ex(sum, EVP_sha256(), NULL) == 1);
	return sum;
}

/* --- writing ---------------------------------------------------------- */

void backup_out_init(struct backup_out *a, int fd)
{
	*a = (struct backup_out){.fd = fd};
}

void backup_out_fini(struct backup_out *a)
{
	buf_fini(&a->sums);
}

static int put_bytes(struct backup_out *a, const void *bytes, size_t n)
{
	const uint8_t *p = bytes;

	while (n) {
		ssize_t written = write(a->fd, p, n);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return ERR_SYSTEM;
		p += written;
		n -= (size_t)written;
		a->bytes += (uint64_t)written;
	}
	return 0;
}

static int put_zeros(struct backup_out *a, size_t n)
{
	static const uint8_t zeros[2 * TAR_BLOCK];

	return put_bytes(a, zeros, n);
}

/* The name with its folder. */
static int put_head(struct backup_out *a, const struct tar_member *m, struct tar_member *full)
{
	uint8_t block[TAR_BLOCK];
	int n;

	*full = *m;
	n = snprintf(full->name, TAR_NAME_BYTES, "%s%s", BACKUP_TOP, m->name);
	if (n >= (int)TAR_NAME_BYTES || a->members >= BACKUP_MEMBERS_MOST ||
		!tar_name_is_safe(view_of(full->name)) || !tar_encode(full, block))
		return ERR_TOPIC;
	a->members++;
	return put_bytes(a, block, sizeof(block));
}

int backup_put(struct backup_out *a, const struct tar_member *m, struct view content)
{
	struct tar_member full, sized = *m;
	EVP_MD_CTX *sum;
	int err;

	sized.size = content.n;
	err = put_head(a, &sized, &full);
	if (err == 0)
		err = put_bytes(a, content.p, content.n);
	if (err == 0)
		err = put_zeros(a, tar_padding(content.n));
	if (err)
		return err;
	sum = begin_sum();
	check(EVP_DigestUpdate(sum, content.p, content.n) == 1);
	add_sum(&a->sums, sum, full.name);
	EVP_MD_CTX_free(sum);
	return 0;
}

/* The file's bytes from `at` on, at most n. ERR_CORRUPT: there are none. */
static ssize_t read_piece(int file, uint8_t *out, size_t n, uint64_t at)
{
	ssize_t got;

	do
		got = pread(file, out, n, (off_t)at);
	while (got < 0 && errno == EINTR);
	if (got == 0)
		return ERR_CORRUPT;
	return got < 0 ? ERR_SYSTEM : got;
}

static int put_content(
	struct backup_out *a, EVP_MD_CTX *sum, int file, uint64_t size, bool *is_read)
{
	uint8_t *piece = mem_new(PIECE);
	uint64_t at = 0;
	int err = 0;

	while (err == 0 && at < size) {
		ssize_t n = read_piece(file, piece, size - at < PIECE ? size - at : PIECE, at);

		*is_read = n < 0;
		if (n < 0) {
			err = (int)n;
			break;
		}
		check(EVP_DigestUpdate(sum, piece, (size_t)n) == 1);
		err = put_bytes(a, piece, (size_t)n);
		at += (uint64_t)n;
	}
	free(piece);
	return err;
}

int backup_put_file(struct backup_out *a, const struct tar_member *m, int file, bool *is_read)
{
	struct tar_member full;
	EVP_MD_CTX *sum = begin_sum();
	int err = put_head(a, m, &full);

	*is_read = false;
	if (err == 0)
		err = put_content(a, sum, file, m->size, is_read);
	if (err == 0)
		err = put_zeros(a, tar_padding(m->size));
	if (err == 0)
		add_sum(&a->sums, sum, full.name);
	EVP_MD_CTX_free(sum);
	return err;
}

int backup_finish(struct backup_out *a)
{
	struct tar_member m = {.name = "SHA256SUMS", .mode = 0600, .size = buf_length(&a->sums)};
	struct tar_member full;
	int err;

	a->members--; /* there is always room for this one */
	err = put_head(a, &m, &full);
	if (err == 0)
		err = put_bytes(a, buf_bytes(&a->sums), buf_length(&a->sums));
	if (err == 0)
		err = put_zeros(a, tar_padding(m.size));
	return err ? err : put_zeros(a, (size_t)2 * TAR_BLOCK);
}

/* --- reading ---------------------------------------------------------- */

void backup_in_init(struct backup_in *a, int fd)
{
	*a = (struct backup_in){.fd = fd};
}

void backup_in_fini(struct backup_in *a)
{
	EVP_MD_CTX_free(a->sum);
	buf_fini(&a->sums);
	free(a->why);
	*a = (struct backup_in){.fd = -1};
}

/* Takes why. */
static int wrong(struct backup_in *a, char *why)
{
	free(a->why);
	a->why = why;
	return ERR_CORRUPT;
}

/* Exactly n bytes. */
static int take_bytes(struct backup_in *a, void *out, size_t n)
{
	uint8_t *p = out;

	while (n) {
		ssize_t got = read(a->fd, p, n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			wrong(a, mem_text(strerror(errno)));
			return ERR_SYSTEM;
		}
		if (got == 0)
			return wrong(a, mem_text(a->members ? "it ends early: it is not complete"
							    : NO_BACKUP));
		p += got;
		n -= (size_t)got;
	}
	return 0;
}

int64_t backup_read(struct backup_in *a, void *out, size_t n)
{
	uint8_t padding[TAR_BLOCK];
	int err;

	n = n < a->left ? n : (size_t)a->left;
	if (n == 0)
		return 0;
	err = take_bytes(a, out, n);
	if (err)
		return err;
	check(EVP_DigestUpdate(a->sum, out, n) == 1);
	a->left -= n;
	if (a->left == 0)
		err = take_bytes(a, padding, tar_padding(a->member.size));
	return err ? err : (int64_t)n;
}

/* What is left of the member at hand is read past, and its sum noted. */
static int end_member(struct backup_in *a)
{
	char name[TAR_NAME_BYTES];
	uint8_t piece[4096];
	int64_t n = 1;

	if (a->sum == NULL)
		return 0;
	while (a->left && n > 0)
		n = backup_read(a, piece, sizeof(piece));
	if (n < 0)
		return (int)n;
	snprintf(name, sizeof(name), "%s%.*s", BACKUP_TOP,
		(int)(TAR_NAME_BYTES - sizeof(BACKUP_TOP)), a->member.name);
	add_sum(&a->sums, a->sum, name);
	EVP_MD_CTX_free(a->sum);
	a->sum = NULL;
	return 0;
}

/* The first line that differs names a member. */
static int compare_sums(struct backup_in *a, struct view wanted, struct view got)
{
	while (wanted.n || got.n) {
		struct view of_file = view_cut(&wanted, '\n');
		struct view of_member = view_cut(&got, '\n');

		if (view_equal(of_file, of_member))
			continue;
		of_member = view_skip(of_member, (size_t)2 * SUM_BYTES + 2);
		return wrong(a, of_member.n
					? mem_printf("%.*s is damaged: its checksum is another",
						  VIEW_ARG(of_member))
					: mem_text("a member that SHA256SUMS names is missing"));
	}
	return 0;
}

/* The last member: says what the sums of all before it are. */
static int check_sums(struct backup_in *a, uint64_t size)
{
	uint8_t end[3 * TAR_BLOCK];
	struct buf sums = {0};
	int err;

	if (size > (uint64_t)BACKUP_MEMBERS_MOST * SUM_LINE_BYTES)
		return wrong(a, mem_text("SHA256SUMS is too long"));
	err = take_bytes(a, buf_reserve(&sums, (size_t)size + 1), (size_t)size);
	if (err == 0)
		err = take_bytes(a, end, tar_padding(size) + (size_t)2 * TAR_BLOCK);
	if (err == 0) {
		buf_grown(&sums, (size_t)size);
		err = compare_sums(a, buf_view(&sums), buf_view(&a->sums));
	}
	buf_fini(&sums);
	return err;
}

/* A member of the archive's own folder, with a name that leads nowhere else. */
static int take_member(struct backup_in *a)
{
	struct view name = view_of(a->member.name);
	char rest[TAR_NAME_BYTES];

	if (!tar_name_is_safe(name) || !view_starts_with(name, VIEW(BACKUP_TOP)))
		return wrong(a, mem_text("a member has a name that isobar export does not write"));
	if (++a->members > BACKUP_MEMBERS_MOST)
		return wrong(a, mem_text("it has too many members"));
	memcpy(rest, a->member.name + strlen(BACKUP_TOP), name.n - strlen(BACKUP_TOP) + 1);
	memcpy(a->member.name, rest, sizeof(rest) - strlen(BACKUP_TOP));
	a->left = a->member.size;
	a->sum = begin_sum();
	return 1;
}

int backup_next(struct backup_in *a)
{
	uint8_t block[TAR_BLOCK];
	int err = end_member(a);

	if (err == 0)
		err = take_bytes(a, block, sizeof(block));
	if (err)
		return err;
	err = tar_decode(block, &a->member);
	if (err == 0)
		return wrong(a, mem_text("it ends without SHA256SUMS: it is not complete"));
	if (err < 0)
		return wrong(a, mem_text(a->members ? "a member's head is damaged" : NO_BACKUP));
	if (strcmp(a->member.name, SUMS_NAME) == 0)
		return check_sums(a, a->member.size);
	return take_member(a);
}
