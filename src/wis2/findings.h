/* wis2/findings.h - keeping the list of broken rules in order
 *
 * Inside the room only: the judges of messages and of topics write their findings through this.
 */
#ifndef WIS2_FINDINGS_H
#define WIS2_FINDINGS_H

#include "wis2/rule.h"

/* How many findings are kept: all of them, or only the lowest-numbered. */
enum findings_keep { FINDINGS_FIRST = 1, FINDINGS_ALL = FINDINGS_MOST };

/* Notes a broken rule: ascending by rule, each rule once (the first finding stays), the
 * lowest-numbered when there are more than `keep`. Gives the finding, its path, level and nearest
 * cleared, or NULL when it was not kept. reason is static text. */
struct finding *findings_add(struct findings *f, enum findings_keep keep, enum rule rule,
	uint32_t offset, const char *reason);

#endif
