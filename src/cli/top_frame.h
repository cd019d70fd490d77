/* cli/top_frame.h - one screen of `isobar top` from two samples
 *
 * Lines of at most `width` characters, without control sequences: whoever shows them adds those. Text
 * from the network comes out as printable ASCII, other bytes as \xHH.
 *
 * Pure. Threads: one.
 */
#ifndef CLI_TOP_FRAME_H
#define CLI_TOP_FRAME_H

#include "base/buf.h"
#include "cli/top_sample.h"

#define TOP_WIDTH_LEAST 40u
#define TOP_NODES_SHOWN 8u

enum top_order {
#define X(order, key, name) order,
#include "cli/top_order.def"
#undef X
	TOP_ORDER_COUNT
};

struct top_view {
	uint32_t width;
	uint32_t height; /* 0: every source is shown, and no line of keys */
	enum top_order order;
	uint32_t first; /* sources scrolled away */
};

/* Appends the frame's lines, each with its line end. before: an older sample for rates, or one that is
 * all zero: then there are none. Corrects v->first when it is beyond the end. */
void top_frame(struct top_view *v, const struct top_sample *now, const struct top_sample *before,
	struct buf *out);

/* Lines before the first source; the last of them names the columns. */
uint32_t top_head_lines(const struct top_sample *now);

/* The order that this key stands for; false: none. */
bool top_order_of(char key, enum top_order *out);

#endif
