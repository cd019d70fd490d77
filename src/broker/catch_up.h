/* broker/catch_up.h - sessions that are behind go on, a share of each turn (inside the room)
 *
 * Each sends again what was in flight when its last connection ended, then scans the journal from its
 * own position, and becomes live when it reaches the worker's.
 *
 * Threads: the worker's; inside an epoch of its reader.
 */
#ifndef BROKER_CATCH_UP_H
#define BROKER_CATCH_UP_H

struct broker_worker;

/* Pieces for sessions in w->ready, one each at most, until the turn's share of time is used up. */
void catch_up_turn(struct broker_worker *w);

#endif
