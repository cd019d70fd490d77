/* Answers to a client's handshake: the whole agrees with its beginning, what is said is printable. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "net/websocket.h"

#define KEY "dGhlIHNhbXBsZSBub25jZQ==" /* RFC 6455, section 1.3 */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char why[WEBSOCKET_WHY_BYTES], ignored[WEBSOCKET_WHY_BYTES];
	ssize_t n = websocket_judge_answer(data, size, KEY, why);

	if (n > (ssize_t)size || n > (ssize_t)HTTP_HEAD_LARGEST)
		abort();
	if (n == 0 && size > HTTP_HEAD_LARGEST)
		abort();
	/* What is a fault stays one, what is agreed stays agreed. */
	for (size_t cut = 0; cut < size && cut < 400; cut += 7) {
		ssize_t early = websocket_judge_answer(data, cut, KEY, ignored);

		if ((early > 0 && early != n) || (early < 0 && n >= 0))
			abort();
	}
	if (n >= 0)
		return 0;
	if (memchr(why, '\0', sizeof(why)) == NULL || why[0] == '\0')
		abort();
	for (const char *c = why; *c; c++)
		if (*c < ' ' || *c > '~')
			abort();
	return 0;
}
