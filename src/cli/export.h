/* Everything held about a person, as JSON. */
#ifndef GYEOL_CLI_EXPORT_H
#define GYEOL_CLI_EXPORT_H

#include "store/store.h"

#include <jansson.h>

/* One change: {"seq", "post", "written_at", "axis", "pole", "previous", "current", "scores", "reason"}. */
json_t *export_step(const struct store_step *v);

/* *out: the document, the caller's to free. ERR_MISSING when there is no such person. */
int export_person(struct store *s, const char *id, json_t **out, struct err *e) MUST_CHECK;

#endif
