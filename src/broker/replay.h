/* broker/replay.h - subscriptions made in the past: $replay/<since>/<filter> */
#ifndef BROKER_REPLAY_H
#define BROKER_REPLAY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/view.h"

/* `since` as a duration back from now_ms ("90s", "15m", "6h", "2d") or an RFC 3339 time in UTC
 * ("2026-11-22T06:00:00Z"), as milliseconds of Unix time; false when it is neither. */
bool replay_parse_since(struct view since, uint64_t now_ms, uint64_t *out_ms);

/* $replay/<since>/<filter>: 1 and *since, *filter set; 0 another filter; negative: ERR_FILTER. */
int replay_cut(struct view whole, struct view *since, struct view *filter);

#endif
