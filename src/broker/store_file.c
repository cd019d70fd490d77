/* LMDB trusts its file: a damaged page may end the process. So a start leaves a mark ("opening",
 * with the number of starts that got no further) until everything was read and a transaction was
 * written; who finds two such starts sets the file aside. A file cut short is made long enough
 * again, as a page of zeros is an error where one that is not there is a SIGBUS. */
#include "broker/store_file.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"

#define STARTS_MOST 2 /* that died while reading */
#define META_KEY "meta"

static char *path_of(const struct store_file *f, const char *name)
{
	return mem_printf("%s/%s", f->dir, name);
}

/* --- starts that failed ----------------------------------------------- */

/* Notes this start; gives how many before it got no further. */
static int note_start(const struct store_file *f)
{
	char *path = path_of(f, "opening");
	int fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
	struct stat st = {0};

	free(path);
	if (fd < 0)
		return 0;
	if (fstat(fd, &st) != 0 || write(fd, "x", 1) != 1)
		st.st_size = 0;
	close(fd);
	return st.st_size > STARTS_MOST ? STARTS_MOST : (int)st.st_size;
}

void store_file_opened(struct store_file *f)
{
	char *path = path_of(f, "opening");

	unlink(path);
	free(path);
}

/* --- environment ------------------------------------------------------ */

static int set_aside(struct store_file *f, const char *why)
{
	char *path = path_of(f, "data.mdb");
	char *aside = mem_printf("%s.damaged-%llu", path, (unsigned long long)clock_wall_ms());
	int err = rename(path, aside) == 0 || errno == ENOENT ? 0 : ERR_SYSTEM;

	log_error("broker", "store-damaged",
		"file=%s set_aside_as=%s why=\"%s\": the %s in it are lost", path, aside, why,
		f->kind->name);
	free(aside);
	free(path);
	return err;
}

/* As long as its pages say; LMDB reads through a map. */
static int make_whole(struct store_file *f)
{
	MDB_envinfo info;
	MDB_stat stat;
	struct stat st;
	uint64_t wanted;
	int fd;

	mdb_env_info(f->env, &info);
	mdb_env_stat(f->env, &stat);
	mdb_env_get_fd(f->env, &fd);
	wanted = ((uint64_t)info.me_last_pgno + 1) * stat.ms_psize;
	if (fstat(fd, &st) != 0)
		return errno;
	if (wanted > (1ull << 46))
		return MDB_CORRUPTED;
	return (uint64_t)st.st_size >= wanted || ftruncate(fd, (off_t)wanted) == 0 ? 0 : errno;
}

static int open_table(struct store_file *f)
{
	MDB_txn *txn;
	int err = mdb_txn_begin(f->env, NULL, 0, &txn);

	if (err)
		return err;
	err = mdb_dbi_open(txn, NULL, 0, &f->dbi);
	if (err == 0)
		return mdb_txn_commit(txn);
	mdb_txn_abort(txn);
	return err;
}

/* 0 or LMDB's or the system's error. No lock file: the journal's lock already keeps other
 * processes out, and one thread at a time uses it. */
static int open_env(struct store_file *f)
{
	int err = mdb_env_create(&f->env);

	if (err == 0)
		err = mdb_env_set_mapsize(f->env, f->size);
	if (err == 0)
		err = mdb_env_open(f->env, f->dir, MDB_NOLOCK | MDB_NOTLS | MDB_NOMETASYNC, 0640);
	if (err == 0)
		err = make_whole(f);
	if (err == 0)
		err = open_table(f);
	if (err == 0) {
		MDB_envinfo info;

		mdb_env_info(f->env, &info);
		f->size = info.me_mapsize;
	}
	return err;
}

static void close_env(struct store_file *f)
{
	if (f->env)
		mdb_env_close(f->env);
	f->env = NULL;
}

/* --- meta ------------------------------------------------------------- */

static uint64_t meta_checksum(const struct store_meta *m)
{
	return XXH3_64bits((const char *)m + sizeof(m->checksum), sizeof(*m) - sizeof(m->checksum));
}

int store_file_put_meta(struct store_file *f, MDB_txn *txn, const struct store_meta *meta)
{
	struct store_meta m = *meta;
	MDB_val key = {strlen(META_KEY), (void *)META_KEY};
	MDB_val value = {sizeof(m), &m};

	m.version = f->kind->version;
	m.checksum = meta_checksum(&m);
	return mdb_put(txn, f->dbi, &key, &value, 0);
}

static bool is_meta(const MDB_val *key)
{
	return key->mv_size == strlen(META_KEY) &&
	       memcmp(key->mv_data, META_KEY, key->mv_size) == 0;
}

static int read_meta(const struct store_file *f, const MDB_val *value, struct store_meta *meta)
{
	struct store_meta m;

	if (value->mv_size != sizeof(m))
		return ERR_CORRUPT;
	memcpy(&m, value->mv_data, sizeof(m));
	if (m.checksum != meta_checksum(&m))
		return ERR_CORRUPT;
	if (m.version == 0 || m.version > f->kind->version)
		return ERR_VERSION;
	*meta = m;
	return 0;
}

/* --- rows ------------------------------------------------------------- */

#define HASH_BYTES 32

/* The place of a key: LMDB's end at 511 bytes. */
static MDB_val place_of(struct view key, unsigned char hash[HASH_BYTES])
{
	check(EVP_Digest(key.p, key.n, hash, NULL, EVP_sha256(), NULL) == 1);
	return (MDB_val){HASH_BYTES, hash};
}

int store_file_put(struct store_file *f, MDB_txn *txn, struct view key, struct view row)
{
	unsigned char hash[HASH_BYTES];
	MDB_val place = place_of(key, hash);
	MDB_val value = {row.n, (void *)row.p};
	int err;

	if (row.p)
		return mdb_put(txn, f->dbi, &place, &value, 0);
	err = mdb_del(txn, f->dbi, &place, NULL);
	return err == MDB_NOTFOUND ? 0 : err;
}

bool store_file_get(struct store_file *f, struct view key, struct buf *out)
{
	unsigned char hash[HASH_BYTES];
	MDB_val place = place_of(key, hash);
	MDB_val value;
	MDB_txn *txn;
	int err = mdb_txn_begin(f->env, NULL, MDB_RDONLY, &txn);

	if (err)
		return false;
	err = mdb_get(txn, f->dbi, &place, &value);
	if (err == 0)
		buf_append(out, value.mv_data, value.mv_size);
	mdb_txn_abort(txn);
	return err == 0;
}

static int put_recent(
	struct store_file *f, MDB_txn *txn, struct buf files[2], struct store_meta *meta)
{
	struct view rest[2] = {buf_view(&files[0]), buf_view(&files[1])};
	uint64_t committed = meta->number;
	struct recent_entry e;
	int err = 0;

	while (err == 0 && recent_next(rest, &e)) {
		if (e.number <= committed)
			continue;
		err = store_file_put(f, txn, e.key, e.row);
		meta->number = e.number;
	}
	return err ? err : store_file_put_meta(f, txn, meta);
}

/* What the last process had not committed. */
static int take_recent(struct store_file *f, struct store_meta *meta)
{
	struct buf files[2] = {{0}, {0}};
	MDB_txn *txn;
	int err = mdb_txn_begin(f->env, NULL, 0, &txn);

	if (err)
		return err;
	recent_read(&f->recent, files);
	err = put_recent(f, txn, files, meta);
	if (err)
		mdb_txn_abort(txn);
	else
		err = mdb_txn_commit(txn);
	if (err == 0)
		recent_clear(&f->recent);
	buf_fini(&files[0]);
	buf_fini(&files[1]);
	return err;
}

/* --- reading ---------------------------------------------------------- */

struct survey {
	const struct store_file *file;
	struct store_meta *meta;
	uint32_t dropped;
	bool is_newer;
};

/* One entry: 0 good, ERR_CORRUPT, ERR_VERSION. */
static int look_at(struct survey *v, const MDB_val *key, const MDB_val *value)
{
	if (is_meta(key))
		return read_meta(v->file, value, v->meta);
	return v->file->kind->judge((struct view){value->mv_data, value->mv_size});
}

static int survey_rows(MDB_cursor *cursor, struct survey *v)
{
	MDB_val key;
	MDB_val value;
	int err;

	while ((err = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
		int found = look_at(v, &key, &value);

		if (found == ERR_VERSION)
			v->is_newer = true;
		if (found != ERR_CORRUPT)
			continue;
		v->dropped++;
		err = mdb_cursor_del(cursor, 0);
		if (err)
			return err;
	}
	return err == MDB_NOTFOUND ? 0 : err;
}

/* Reads all of it once, drops what fails its checksum. 0 or LMDB's error. */
static int survey(struct store_file *f, struct survey *v)
{
	MDB_cursor *cursor;
	MDB_txn *txn;
	int err = mdb_txn_begin(f->env, NULL, 0, &txn);

	if (err)
		return err;
	err = mdb_cursor_open(txn, f->dbi, &cursor);
	if (err == 0) {
		err = survey_rows(cursor, v);
		mdb_cursor_close(cursor);
	}
	if (err == 0 && v->dropped && !v->is_newer)
		return mdb_txn_commit(txn);
	mdb_txn_abort(txn);
	return err;
}

static int open_and_survey(struct store_file *f, struct survey *v)
{
	int err = open_env(f);

	if (err == 0)
		err = survey(f, v);
	if (err == 0 && !v->is_newer && (f->recent.bytes[0] || f->recent.bytes[1]))
		err = take_recent(f, v->meta);
	if (err)
		close_env(f);
	return err;
}

/* Errors that speak of the file's content, not of the machine. */
static bool is_damage(int err)
{
	return err == MDB_INVALID || err == MDB_CORRUPTED || err == MDB_VERSION_MISMATCH ||
	       err == MDB_PAGE_NOTFOUND || err == MDB_BAD_VALSIZE || err == MDB_PANIC ||
	       err == MDB_INCOMPATIBLE || err == MDB_CURSOR_FULL;
}

int store_file_open(struct store_file *f, const char *dir, struct store_meta *meta, char **why)
{
	struct survey v = {.file = f, .meta = meta};
	int err = mkdir(dir, 0750) == 0 || errno == EEXIST ? 0 : errno;

	f->dir = mem_text(dir);
	f->recent = (struct store_recent){.fds = {-1, -1}};
	if (err == 0 && recent_open(&f->recent, dir) < 0)
		err = errno;
	if (err == 0 && note_start(f) >= STARTS_MOST) {
		set_aside(f, "two starts died at it");
		store_file_opened(f);
	}
	if (err == 0)
		err = open_and_survey(f, &v);
	if (is_damage(err) && set_aside(f, mdb_strerror(err)) == 0) {
		v = (struct survey){.file = f, .meta = meta};
		*meta = (struct store_meta){0};
		err = open_and_survey(f, &v);
	}
	if (err == 0 && !v.is_newer) {
		if (v.dropped)
			log_error("broker", "store-rows-damaged", "store=%s rows=%u: dropped",
				f->kind->name, v.dropped);
		return 0;
	}
	*why = v.is_newer ? mem_printf("%s was written by a newer version of isobar", dir)
			  : mem_printf("%s: %s", dir, mdb_strerror(err));
	store_file_opened(f);
	store_file_close(f);
	return v.is_newer ? ERR_VERSION : ERR_SYSTEM;
}

void store_file_walk(
	struct store_file *f, bool (*on_row)(void *context, struct view row), void *context)
{
	MDB_cursor *cursor;
	MDB_txn *txn;
	MDB_val key;
	MDB_val value;

	if (mdb_txn_begin(f->env, NULL, MDB_RDONLY, &txn))
		return;
	if (mdb_cursor_open(txn, f->dbi, &cursor) == 0) {
		while (mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0) {
			struct view row = {value.mv_data, value.mv_size};

			if (!is_meta(&key) && f->kind->judge(row) == 0 && !on_row(context, row))
				break;
		}
		mdb_cursor_close(cursor);
	}
	mdb_txn_abort(txn);
}

int store_file_copy(struct store_file *f, const char *dir)
{
	char *path = mem_printf("%s/data.mdb", dir);
	int fd = -1, err = mkdir(dir, 0750) == 0 || errno == EEXIST ? 0 : errno;

	if (err == 0 && unlink(path) < 0 && errno != ENOENT)
		err = errno;
	if (err == 0 && (fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640)) < 0)
		err = errno;
	if (err == 0)
		err = mdb_env_copyfd2(f->env, fd, MDB_CP_COMPACT);
	if (fd >= 0)
		close(fd);
	free(path);
	return err < 0 ? EIO : err; /* LMDB's own are negative */
}

uint64_t store_file_rows(struct store_file *f)
{
	MDB_stat stat;

	mdb_env_stat(f->env, &stat);
	return stat.ms_entries ? stat.ms_entries - 1 : 0; /* one is the meta */
}

void store_file_close(struct store_file *f)
{
	close_env(f);
	recent_close(&f->recent);
	free(f->dir);
	f->dir = NULL;
}
