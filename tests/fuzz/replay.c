/* Runs a fuzz target over the files and folders named on the command line, without the fuzzer:
 * `make test` replays the corpus this way. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path)
{
	FILE *file = fopen(path, "rb");
	size_t size;
	uint8_t *data;

	if (file == NULL)
		return -1;
	data = malloc(1 << 20);
	size = fread(data, 1, 1 << 20, file);
	fclose(file);
	/* An exact copy, so that a sanitizer sees one byte too many. */
	data = realloc(data, size ? size : 1);
	LLVMFuzzerTestOneInput(data, size);
	free(data);
	return 1;
}

static int replay(const char *path)
{
	struct stat st;
	struct dirent *entry;
	int n = 0;
	DIR *dir;

	if (stat(path, &st) != 0)
		return -1;
	if (!S_ISDIR(st.st_mode))
		return replay_file(path);
	dir = opendir(path);
	while (dir && (entry = readdir(dir)) != NULL) {
		char name[4096];

		if (entry->d_name[0] == '.')
			continue;
		snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
		if (replay_file(name) < 0)
			return -1;
		n++;
	}
	if (dir)
		closedir(dir);
	return n;
}

int main(int argc, char **argv)
{
	int total = 0;

	for (int i = 1; i < argc; i++) {
		int n = replay(argv[i]);

		if (n < 0) {
			fprintf(stderr, "cannot read %s\n", argv[i]);
			return 1;
		}
		total += n;
	}
	printf("replayed %d\n", total);
	return total > 0 ? 0 : 1;
}
