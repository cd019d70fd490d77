/* URLs: what is taken can be written and taken again, and means the same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "net/address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct view text = {(const char *)data, size};
	struct url u, again;
	struct address a;
	const char *why = NULL;
	char shown[URL_TEXT_BYTES];

	address_parse(text, 1, &a);
	if (url_parse(text, &u, &why) != 0) {
		if (why == NULL)
			abort();
		return 0;
	}
	url_format(&u, shown);
	if (url_parse(view_of(shown), &again, &why) != 0 || again.scheme != u.scheme ||
		again.port != u.port || strcmp(again.host, u.host) != 0)
		abort();
	return 0;
}
