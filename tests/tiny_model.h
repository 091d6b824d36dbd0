/* A tiny model with random weights, made by build/random_model. */
#ifndef GYEOL_TESTS_TINY_MODEL_H
#define GYEOL_TESTS_TINY_MODEL_H

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "testing.h"

/* Writes a GGUF file. words: a tokenizer's path, or NULL for one with a token per byte. */
static inline void tiny_model(const char *path, const char *words)
{
    char program[300];
    const char *build = getenv("BUILD");
    int status = 1;
    snprintf(program, sizeof program, "%s/random_model", build ? build : "build");
    pid_t child = fork();
    if (child == 0) {
        execl(program, program, path, "tiny", "f32", "3", words, (char *)NULL);
        _exit(127);
    }
    if (child < 0 || waitpid(child, &status, 0) != child || status)
        fail_msg("%s: status %d", program, status);
}

#endif
