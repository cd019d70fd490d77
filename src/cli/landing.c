#include "cli/landing.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <libgen.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/config_keys.h"
#include "cli/control.h"

#define STAGING "import.new"
#define OPEN_FOLDERS 16

static int failed(const char *path)
{
	fprintf(stderr, "isobar import: %s: %s\n", path, strerror(errno));
	return CLI_ENVIRONMENT;
}

static int refused(const char *path, const char *why)
{
	fprintf(stderr, "isobar import: %s: %s\n", path, why);
	return CLI_NO;
}

/* --- files of the configuration --------------------------------------- */

struct landing_file *landing_add(struct landing *p, const struct tar_member *m)
{
	if (m->size > LANDING_FILE_LARGEST || p->bytes + m->size > LANDING_FILES_LARGEST) {
		refused(m->name, "larger than a configuration's file may be");
		return NULL;
	}
	p->bytes += m->size;
	p->files = mem_resize(p->files, (p->count + 1) * sizeof(*p->files));
	p->files[p->count] = (struct landing_file){.member = *m};
	return &p->files[p->count++];
}

static const struct landing_file *main_file(const struct landing *p)
{
	for (uint32_t i = 0; i < p->count; i++) {
		const char *slash = strchr(p->files[i].member.name, '/');

		if (p->main_name &&
			view_starts_with(
				view_of(p->files[i].member.name), VIEW("configuration/")) &&
			strcmp(slash + 1, p->main_name) == 0)
			return &p->files[i];
	}
	return NULL;
}

static char *folder_of(const char *file)
{
	const char *slash = strrchr(file, '/');

	return slash ? mem_text_of((struct view){file, (size_t)(slash - file) + 1}) : mem_text("");
}

/* Where it goes; the caller frees. */
static char *destination(const struct landing *p, const struct landing_file *f)
{
	const char *rest = strchr(f->member.name, '/') + 1;
	char *folder, *path;

	if (view_starts_with(view_of(f->member.name), VIEW("sources/")))
		return mem_printf("%s/%s", p->config->sources_dir, rest);
	if (view_starts_with(view_of(f->member.name), VIEW("accounts/")))
		return mem_text(p->config->accounts_file);
	if (f == main_file(p))
		return mem_text(p->file);
	folder = folder_of(p->file);
	path = mem_printf("%s%s", folder, rest);
	free(folder);
	return path;
}

/* --- where things go -------------------------------------------------- */

/* The configuration of the archive, read as if it stood in its place already: what it names is not there
 * yet, so its faults mean nothing now. */
static struct config *read_imported(const struct landing *p, const struct landing_file *f)
{
	struct buf lines = {0};
	struct faults faults = {&lines, 0};
	char *folder = folder_of(p->file);
	struct config_reader r = {&faults, p->file, folder, ""};
	struct config *c = mem_new(sizeof(*c));

	c->file = mem_text(p->file);
	yaml_free(config_read_main(&r, buf_view(&f->content), c));
	buf_fini(&lines);
	free(folder);
	return c;
}

static void find_config(struct landing *p)
{
	const struct landing_file *f = main_file(p);
	struct buf faults = {0};

	if (f && p->file == NULL)
		p->file = CONFIG_FILE_DEFAULT;
	if (f)
		p->config = read_imported(p, f);
	else if (config_load(p->file, &p->config, &faults) < 0)
		fwrite(buf_bytes(&faults), 1, buf_length(&faults), stderr);
	if (p->file == NULL)
		p->file = p->config->file;
	buf_fini(&faults);
}

/* --- what may be in the way ------------------------------------------- */

static bool is_nothing(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strcmp(name, "lost+found") == 0;
}

/* One entry that is in the folder, but for what an import that was killed left; the caller frees. NULL:
 * none. */
static char *something_in(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	char *found = NULL;

	while (dir && found == NULL && (entry = readdir(dir)) != NULL) {
		if (!is_nothing(entry->d_name) && strcmp(entry->d_name, STAGING) != 0)
			found = mem_text(entry->d_name);
	}
	if (dir)
		closedir(dir);
	return found;
}

/* A broker, or another command that holds the journal. */
static bool is_in_use(const char *data_dir)
{
	char *path = mem_printf("%s/journal/lock", data_dir);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	bool is_held = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0;

	if (fd >= 0)
		close(fd);
	free(path);
	return is_held;
}

static int check_data_dir(const struct landing *p)
{
	const char *dir = p->config->data_dir;
	char *found = something_in(dir);
	int status = CLI_DONE;

	if (is_in_use(dir))
		status = refused(dir, "a broker runs on it; stop it first");
	else if (found && !p->replaces)
		status = refused(dir, "is not empty; --replace puts what is there aside");
	free(found);
	return status;
}

static int check_files(const struct landing *p)
{
	int status = CLI_DONE;

	for (uint32_t i = 0; i < p->count; i++) {
		char *path = destination(p, &p->files[i]);

		if (!p->replaces && access(path, F_OK) == 0)
			status = refused(path,
				"is there; --replace puts it aside, --without its part leaves it");
		free(path);
	}
	return status;
}

static int check_space(const struct landing *p, uint64_t bytes)
{
	struct statvfs disk;

	if (statvfs(p->config->data_dir, &disk) < 0)
		return failed(p->config->data_dir);
	if (bytes / disk.f_frsize < disk.f_bavail)
		return CLI_DONE;
	fprintf(stderr, "isobar import: %s: needs %llu bytes, %llu are free\n", p->config->data_dir,
		(unsigned long long)bytes, (unsigned long long)disk.f_bavail * disk.f_frsize);
	return CLI_ENVIRONMENT;
}

static void set_stamp(struct landing *p)
{
	time_t now = time(NULL);
	struct tm parts;
	char text[40];

	strftime(text, sizeof(text), "replaced-%Y%m%dT%H%M%SZ", gmtime_r(&now, &parts));
	p->stamp = mem_text(text);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	(void)st;
	(void)kind;
	(void)at;
	return remove(path);
}

static void remove_staging(const struct landing *p)
{
	if (p->staging && access(p->staging, F_OK) == 0)
		nftw(p->staging, remove_one, OPEN_FOLDERS, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

int landing_prepare(struct landing *p, uint64_t bytes)
{
	int status;

	find_config(p);
	if (main_file(p) == NULL && !config_is_readable(p->config))
		return CLI_USAGE;
	status = check_data_dir(p);
	if (status == CLI_DONE)
		status = check_files(p);
	if (status)
		return status;
	p->has_made_data_dir = access(p->config->data_dir, F_OK) < 0;
	if (file_make_folder(p->config->data_dir) < 0)
		return failed(p->config->data_dir);
	status = check_space(p, bytes);
	if (status)
		return status;
	p->staging = mem_printf("%s/" STAGING, p->config->data_dir);
	remove_staging(p); /* of one that was killed */
	set_stamp(p);
	return mkdir(p->staging, 0750) == 0 ? CLI_DONE : failed(p->staging);
}

/* --- staging ---------------------------------------------------------- */

/* As on the old machine, if this one knows the names; else as the folder. */
static void find_owner(struct landing *p, const struct tar_member *m)
{
	struct passwd user, *owner = NULL;
	struct group people, *group = NULL;
	char room[4096];
	struct stat st;

	if (p->is_owned || stat(p->config->data_dir, &st) < 0)
		return;
	p->is_owned = true;
	p->owner = st.st_uid;
	p->group = st.st_gid;
	if (getpwnam_r(m->owner, &user, room, sizeof(room), &owner) == 0 && owner)
		p->owner = owner->pw_uid;
	if (getgrnam_r(m->group, &people, room, sizeof(room), &group) == 0 && group)
		p->group = group->gr_gid;
}

int landing_create(struct landing *p, const struct tar_member *m, const char *name)
{
	char *path = mem_printf("%s/%s", p->staging, name);
	char *copy = mem_text(path);
	int fd = -1;

	find_owner(p, m);
	if (file_make_folder(dirname(copy)) == 0)
		fd = open(
			path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, m->mode & 0640);
	if (fd < 0)
		failed(path);
	free(copy);
	free(path);
	return fd;
}

void landing_abandon(struct landing *p)
{
	remove_staging(p);
	if (p->has_made_data_dir)
		rmdir(p->config->data_dir);
}

/* --- the end ---------------------------------------------------------- */

/* Each entry of a folder but one, and but what was put aside before. */
static int move_entries(const char *from, const char *to, const char *but)
{
	struct dirent **entries = NULL;
	int n = scandir(from, &entries, NULL, alphasort);
	int status = n < 0 ? failed(from) : CLI_DONE;

	for (int i = 0; i < n; i++) {
		const char *name = entries[i]->d_name;
		char *old = mem_printf("%s/%s", from, name);
		char *fresh = mem_printf("%s/%s", to, name);

		if (status == CLI_DONE && !is_nothing(name) && strcmp(name, but) != 0 &&
			strncmp(name, "replaced-", 9) != 0 && rename(old, fresh) < 0)
			status = failed(old);
		free(fresh);
		free(old);
		free(entries[i]);
	}
	free(entries);
	return status;
}

static int put_data_aside(const struct landing *p)
{
	char *aside = mem_printf("%s/%s", p->config->data_dir, p->stamp);
	int status = mkdir(aside, 0750) == 0 ? move_entries(p->config->data_dir, aside, STAGING)
					     : failed(aside);

	if (rmdir(aside) < 0 && status == CLI_DONE) /* it stays when something is in it */
		printf("what was in %s is now in %s\n", p->config->data_dir, aside);
	free(aside);
	return status;
}

static int give_one(const char *path, uid_t owner, gid_t group)
{
	return lchown(path, owner, group) == 0 ? 0 : -1;
}

static int give_folder(const struct landing *p, const char *path)
{
	struct dirent **entries = NULL;
	int n = scandir(path, &entries, NULL, alphasort);
	int err = give_one(path, p->owner, p->group);

	for (int i = 0; i < n; i++) {
		char *at = mem_printf("%s/%s", path, entries[i]->d_name);
		struct stat st;

		if (!is_nothing(entries[i]->d_name) && err == 0 && lstat(at, &st) == 0)
			err = S_ISDIR(st.st_mode) ? give_folder(p, at)
						  : give_one(at, p->owner, p->group);
		free(at);
		free(entries[i]);
	}
	free(entries);
	return err;
}

/* All of it, and what the checks made beside it; on the disk before it counts. */
static int settle_data(const struct landing *p)
{
	int fd = open(p->staging, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int status = CLI_DONE;

	if (geteuid() == 0 && p->is_owned && give_folder(p, p->staging) < 0)
		status = failed(p->staging);
	if (status == CLI_DONE && (fd < 0 || syncfs(fd) < 0))
		status = failed(p->staging);
	if (fd >= 0)
		close(fd);
	return status;
}

static int install_data(struct landing *p)
{
	int status = settle_data(p);

	if (status == CLI_DONE && p->replaces)
		status = put_data_aside(p);
	if (status == CLI_DONE)
		status = move_entries(p->staging, p->config->data_dir, "");
	if (status == CLI_DONE && rmdir(p->staging) < 0)
		status = failed(p->staging);
	if (status == CLI_DONE && geteuid() == 0 && p->is_owned)
		status = give_one(p->config->data_dir, p->owner, p->group) == 0
				 ? CLI_DONE
				 : failed(p->config->data_dir);
	return status;
}

/* Root gives it, or a folder made for it, to whom it belonged, if this machine knows them. */
static void give_file(const char *path, const struct tar_member *m)
{
	struct passwd user, *owner = NULL;
	struct group people, *group = NULL;
	char room[4096];

	if (geteuid() != 0)
		return;
	if (getpwnam_r(m->owner, &user, room, sizeof(room), &owner) != 0 || owner == NULL)
		return;
	if (getgrnam_r(m->group, &people, room, sizeof(room), &group) != 0 || group == NULL)
		return;
	if (lchown(path, owner->pw_uid, group->gr_gid) < 0)
		failed(path);
}

static int put_file_aside(const struct landing *p, const char *path)
{
	char *aside = mem_printf("%s.%s", path, p->stamp);
	int status = rename(path, aside) == 0 || errno == ENOENT ? CLI_DONE : failed(path);

	free(aside);
	return status;
}

static int install_file(const struct landing *p, const struct landing_file *f)
{
	char *path = destination(p, f);
	char *copy = mem_text(path);
	const char *folder = dirname(copy);
	bool is_new = access(folder, F_OK) < 0;
	int status = put_file_aside(p, path);

	if (status == CLI_DONE &&
		(file_make_folder(folder) < 0 ||
			file_replace(path, buf_view(&f->content), f->member.mode & 0777) < 0))
		status = failed(path);
	if (status == CLI_DONE && is_new)
		give_file(folder, &f->member);
	if (status == CLI_DONE)
		give_file(path, &f->member);
	free(copy);
	free(path);
	return status;
}

int landing_install(struct landing *p)
{
	int status = install_data(p);

	for (uint32_t i = 0; i < p->count && status == CLI_DONE; i++)
		status = install_file(p, &p->files[i]);
	if (status)
		fprintf(stderr,
			"isobar import: stopped half-way: what was there before bears .%s in its "
			"name, or is in the folder %s\n",
			p->stamp, p->stamp);
	return status;
}

void landing_fini(struct landing *p)
{
	for (uint32_t i = 0; i < p->count; i++) {
		struct buf *b = &p->files[i].content;

		if (b->data)
			explicit_bzero(b->data, b->size);
		buf_fini(b);
	}
	free(p->files);
	config_free(p->config);
	free(p->staging);
	free(p->stamp);
}
