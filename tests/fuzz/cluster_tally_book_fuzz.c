/* What another node may have written about centres: any text makes a sheet, each centre in it once. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/holders.h"
#include "cluster/tally_book.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct view list = {(const char *)data, size}, totals = view_cut(&list, '|');
	struct resp texts[] = {{.type = RESP_STRING, .text = VIEW("xx-a")},
		{.type = RESP_STRING, .text = totals}, {.type = RESP_STRING, .text = VIEW("me")},
		{.type = RESP_STRING, .text = list}};
	struct resp parts[] = {{.type = RESP_ARRAY, .items = texts, .count = 2},
		{.type = RESP_ARRAY, .items = texts + 2, .count = 2}};
	struct resp whole = {.type = RESP_ARRAY, .items = parts, .count = 2};
	struct nodes nodes = {0};
	struct tally_sheet s = {0};

	if (!tally_sheet_take(&s, &whole, &nodes, "me", 7))
		abort();
	for (uint32_t i = 0; i < s.count; i++) {
		if (strlen(s.lines[i].centre) > TALLY_NAME_MOST ||
			map_get(&s.by_centre, view_of(s.lines[i].centre)) != &s.lines[i])
			abort();
	}
	for (uint32_t i = 0; i < s.holding_count; i++) {
		if (s.holdings[i].source[0] == '\0' || s.holdings[i].slot >= HOLDERS_MOST ||
			strcmp(s.holdings[i].node, "me") != 0)
			abort();
	}
	tally_sheet_fini(&s);
	return 0;
}
