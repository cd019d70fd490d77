/* HTTP requests: a verdict on the whole agrees with what the beginning gave, views stay inside. */
#include <stdint.h>
#include <stdlib.h>

#include "net/http.h"

static void inside(struct view v, const uint8_t *data, size_t size)
{
	const uint8_t *p = (const uint8_t *)v.p;

	if (p && (p < data || p + v.n > data + size))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct http_request r, shorter;
	int status = 0, ignored;
	char value[32];
	ssize_t n = http_parse(data, size, &r, &status);

	/* What is a fault stays one, what is whole stays the same. */
	for (size_t cut = 0; cut < size && cut < 400; cut += 7) {
		ssize_t early = http_parse(data, cut, &shorter, &ignored);

		if ((early > 0 && early != n) || (early < 0 && n >= 0))
			abort();
	}
	if (n < 0 && (status < 400 || status > 505))
		abort();
	if (n <= 0)
		return 0;
	inside(r.method, data, size);
	inside(r.target, data, size);
	inside(r.query, data, size);
	for (int i = 0; i < r.fields.count; i++) {
		inside(r.fields.list[i].name, data, size);
		inside(r.fields.list[i].value, data, size);
	}
	if (r.body_bytes > HTTP_BODY_LARGEST || (size_t)n > HTTP_HEAD_LARGEST)
		abort();
	http_parameter(&r, VIEW("a"), value, sizeof(value));
	return 0;
}
