/* Which files of a repository are fetched: a hub holds the same weights in several formats, and gyeol reads
 * two. */
#ifndef GYEOL_NET_CHOOSE_H
#define GYEOL_NET_CHOOSE_H

#include "net/hub.h"

/* Marks the files to fetch. With patterns (hub_match) those that match any of them, each pattern at least
 * one. Without: configuration, tokenizer, licence and the safetensors weights at the top; where there are
 * none, the one GGUF file. ERR_MISSING or ERR_STATE says what to do where that is not to be had; ERR_FORMAT:
 * a chosen file's name is not fit to be written. `name` is for errors. */
int choose_files(struct hub_listing *l, const char *name, const char *const *pattern, size_t n,
                 struct err *e) MUST_CHECK;

#endif
