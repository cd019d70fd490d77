/* broker/backlog.h - an account's limit on how many messages a session may lag
 *
 *        from ........ position ............................ to ..... live
 *          <--------- wanted: messages for this session ----->
 *
 * A session has no queue, so the messages that wait for it are counted: each record is looked at once
 * when `to` passes it and once when `from` does, and only for sessions that are so many records behind
 * that they may be over. The oldest go until as many are left as the account may lag; before the
 * count has reached the end nothing is sent. What went is counted exactly, message by message.
 *
 * Threads: the session's worker, inside a journal reader's epoch.
 */
#ifndef BROKER_BACKLOG_H
#define BROKER_BACKLOG_H

#include <stdbool.h>

struct broker_worker;
struct session;

/* Looks at some records and moves the position of s (connected, behind, in a group) forward, if it
 * must. False: not done, nothing may be sent yet. */
bool backlog_hold(struct broker_worker *w, struct session *s);

/* The count ends; tells the log what went. Harmless without one. */
void backlog_end(struct session *s);

#endif
