/* commit/metadata.h - the last question of the gate: is there discovery metadata? (MD-01 to MD-05)
 *
 * Apart from commit/gate.h because what it asks changes while policies do not: the list on the shelf
 * is renewed every few minutes.
 *
 * Threads: any worker's; no lock, no allocation.
 */
#ifndef COMMIT_METADATA_H
#define COMMIT_METADATA_H

#include "commit/gate.h"
#include "wis2/catalogue.h"

/* After gate_judge(): a message that passes there and lies on a data topic needs a record. Sets in *v
 * what MD-01 makes of it by the policy, and `by_centre` when only the centre's record for the topic
 * let it pass. A metadata notification that passes is noticed on the shelf. Borrows payload. */
void metadata_judge(struct shelf *shelf, const struct gate_policy *p, struct view payload,
	struct gate_verdict *v);

#endif
