/* tests/clients/paho.h - what the two Paho C libraries, one that waits and one that does not, have
 * in common: the properties, and how an address is written. */
#ifndef TESTS_CLIENTS_PAHO_H
#define TESTS_CLIENTS_PAHO_H

#include <MQTTProperties.h>
#include <jansson.h>
#include <stdbool.h>

/* The caller frees them by MQTTProperties_free(). from may be NULL. */
MQTTProperties paho_to_properties(const json_t *from);

/* Gives a new object. */
json_t *paho_from_properties(const MQTTProperties *list);

/* "wss://127.0.0.1:1234/mqtt" of an order to connect; the caller frees it. */
char *paho_url(const json_t *order);
bool paho_is_tls(const json_t *order);

/* A topic as the libraries give it: n is 0 when it ends with a NUL. The caller frees it. */
char *paho_topic(const char *topic, int n);

#endif
