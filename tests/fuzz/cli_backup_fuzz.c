/* Whatever a file holds: `isobar import` reads it to its end or says what is wrong, and every name it
 * takes stays below the folder it is put in. */
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/check.h"
#include "cli/backup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_all(struct backup_in *in)
{
	uint8_t piece[777];
	int64_t n;
	int err;

	while ((err = backup_next(in)) == 1) {
		uint64_t got = 0;

		check(tar_name_is_safe(view_of(in->member.name)));
		while ((n = backup_read(in, piece, sizeof(piece))) > 0)
			got += (uint64_t)n;
		check(n < 0 || got == in->member.size);
		if (n < 0)
			break;
	}
	check(err == 0 || in->why != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct backup_in in;
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	if (fd < 0)
		return 0;
	if (write(fd, data, size) == (ssize_t)size && lseek(fd, 0, SEEK_SET) == 0) {
		backup_in_init(&in, fd);
		read_all(&in);
		backup_in_fini(&in);
	}
	close(fd);
	return 0;
}
