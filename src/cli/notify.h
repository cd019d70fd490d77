/* cli/notify.h - tells the service manager how it goes (sd_notify(3)'s protocol, without its library)
 *
 * A datagram to the socket that $NOTIFY_SOCKET names; without it nothing happens.
 *
 * Threads: the main thread.
 */
#ifndef CLI_NOTIFY_H
#define CLI_NOTIFY_H

#include <stdbool.h>

/* "READY=1", "STOPPING=1", "WATCHDOG=1"; several parted by line ends. */
void notify_tell(const char *state);

/* Does the service manager wait for "WATCHDOG=1"? */
bool notify_is_watched(void);

#endif
