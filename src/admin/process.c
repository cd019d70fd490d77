#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>

#include "admin/internal.h"

static uint64_t count_files(const char *dir)
{
	DIR *d = opendir(dir);
	uint64_t n = 0;

	if (d == NULL)
		return 0;
	while (readdir(d))
		n++;
	closedir(d);
	return n > 3 ? n - 3 : 0; /* ".", ".." and the folder itself */
}

static void read_memory(struct process *out)
{
	FILE *f = fopen("/proc/self/status", "r");
	unsigned long long kib;
	char line[256];

	if (f == NULL)
		return;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "VmRSS: %llu kB", &kib) == 1)
			out->resident_bytes = kib * 1024;
		if (sscanf(line, "RssAnon: %llu kB", &kib) == 1)
			out->anonymous_bytes = kib * 1024;
	}
	fclose(f);
}

static double seconds(struct timeval t)
{
	return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

void process_read(struct process *out)
{
	struct rusage usage;
	struct rlimit limit;

	*out = (struct process){0};
	if (getrusage(RUSAGE_SELF, &usage) == 0)
		out->cpu_seconds = seconds(usage.ru_utime) + seconds(usage.ru_stime);
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
		out->most_fds = limit.rlim_cur;
	out->open_fds = count_files("/proc/self/fd");
	read_memory(out);
}
